"""How jobs become feedback.

lease           which workers are alive, and which jobs must be taken over
pipeline        fetch, grade, publish
queue           the only module that uses DBOS
fairness        whose job is taken first
graders         a suite server for each assignment
feedback_files  the feedback files for a student
showing         what the feedback branch shows, and bringing it up to date
statuses        what a git host shows beside a commit
worker_names    names, locks and folders of this machine's workers
"""
