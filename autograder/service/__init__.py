"""The grading service: from a push to the feedback that answers it. Imports point downward in this order.

serve        web, jobs and a worker in one process; workers of their own
app          the HTTP edge
pages, login what staff see in a browser
reconciler   what was pushed and is in no queue is put there
lease        workers that are not heard of any more
queue        durable jobs
pipeline     fetch, grade, publish
staff        what staff do to jobs
intake       a push -> the ledger, and the jobs that it opens
spool        pushes that hooks left in a folder
metrics      what is counted
logs         what is written down
course       the configuration as facts: whose repository, which assignment, until when
"""
