"""The grading service: it takes pushes, grades them, and publishes feedback on the feedback branch.

It survives a crash, and runs on one machine or on several.

    serve         starts and ends the processes: web, reconciler and workers; handles signals
    http/         webhooks, pages, health
    status, staff, ci   what `autograder status`, `jobs`, `regrade` and `ci` do
    handout       makes a repository for each student
    verification  compares published scores with the ledger, for `autograder verify`
    roster_check  compares the roster with repositories, hosts and the ledger
    notices       tells staff by mail or webhook what needs them; channels: how
    attention     what staff must look at besides jobs
    belonging     whether this machine has the course's secret, suites and reference
    readiness     what keeps the course from grading: suites and sandboxes are tried
    service       the parts that every process of the service shares
    intake/       a push -> a job
    jobs/         a job -> feedback
    metrics, logs what is counted and logged

If the ledger and the queue differ, the ledger is right. The queue only records which worker has which job. Every step
may be repeated.
"""
