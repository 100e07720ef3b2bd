"""How pushes become jobs.

reconciler     compares the ledger with the queue, and repairs differences
intake         records a push in the ledger, and opens and queues its job
post_receive   the hook of bare repositories
spool          the folder in which that hook leaves pushes
"""
