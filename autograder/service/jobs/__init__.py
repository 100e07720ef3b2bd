"""How jobs become feedback.

worker_names    names, locks and folders of this machine's workers
lease           which workers are alive, and whose jobs must be taken over
queue           the seam to DBOS
pipeline        fetch, grade, publish
graders         one suite server for each assignment
feedback_files  what a student gets; pure
observer        what is counted in a worker
"""
