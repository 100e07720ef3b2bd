"""The grading service: from a push to the feedback branch, durable on one machine, the same on many.

    serve         the processes: web, jobs and workers in one; signals
    http/         webhooks, pages, health
    status, staff, ci   what `autograder status`, `jobs`, `regrade` and `ci` do
    service       the parts that every process of the service shares
    intake/       a push -> a job
    jobs/         a job -> feedback
    metrics, logs what is counted and logged

The ledger is the truth, the queue only says who works on what. Every step may be repeated.
"""
