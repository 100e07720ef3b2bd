"""The grading service: from a push to the feedback branch, durable on one machine, the same on many.

    serve             web, jobs and a worker slot in one process; workers; signals
    app, pages, login what is answered over HTTP
    status            what `autograder status` shows
    site              the service as the HTTP edge and the pages see it
    reconciler        compares the ledger with the queue, and mends the difference
    slots             names, locks and folders of the worker slots of a machine
    lease             which workers live, and whose jobs must be taken over
    queue             the seam to DBOS
    pipeline          fetch, grade, publish
    graders           warm suite servers, one for each assignment
    answer            what a student gets; pure
    staff             what staff do to jobs
    intake            a push -> jobs
    hooks             the post-receive hook of a bare repository
    spool             the folder in which hooks leave pushes
    metrics, logs, observer   what is counted and said
    course            configuration -> which assignment a repository belongs to, and all about it

The ledger is the truth, the queue only says who works on what. Every step may be repeated.
"""
