"""How pushes become jobs.

reconciler     compares the ledger with the queue, and repairs differences
intake         a push -> the ledger -> a job
post_receive   the hook of bare repositories
spool          the folder in which that hook leaves pushes
"""
