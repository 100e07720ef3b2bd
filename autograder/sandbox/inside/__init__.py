"""What runs inside the wall: this package is handed to the wall as data, whole. It imports only itself and the standard
library, because nothing else of the staff repository is visible there.

    fork_server  the first process: imports NumPy or torch and the probes, then forks a submission on request
    submission   pid 1 of one submission's namespaces: holds its files, forks its cases, enforces their limits
    case         one probe call: gives up every privilege, imports `src`, sends one reply
    reply        loads and calls a probe, and turns the result into a reply
    rehearsal    a case without student code, which checks from the inside that each protection is in force
    container    pid 1 of a container that serves one submission: fork server and submission in one process
    kernel       the few system calls that Python does not have
    protocol     plain data as bytes

    plain        a case without a wall, for development on systems that have none

Student code runs only in the process of a `case`.
"""

GRADER_DIRECTORY = "/grader"
"""Where this package, the probes and the configuration are, as seen inside; hidden from cases."""
CONFIGURATION_FILE = f"{GRADER_DIRECTORY}/configuration"
PROBES_FILE = f"{GRADER_DIRECTORY}/probes.py"
SUBMISSION_DIRECTORY = "/submission"
"""The folder that holds the submission's `src`, as seen inside."""
WRITABLE_DIRECTORIES = ("/tmp", "/dev/shm")  # noqa: S108
"""All that a case can write to; nothing written there reaches the next case."""
INSIDE_ID = 65532
"""The user and group that student code sees itself as."""
