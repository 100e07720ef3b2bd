"""How jobs become feedback.

lease           which workers are alive, and whose jobs must be taken over
pipeline        fetch, grade, publish
queue           the seam to DBOS
fairness        whose job is taken first
graders         a suite server for each assignment
feedback_files  what a student gets; pure
worker_names    names, locks and folders of this machine's workers
"""
