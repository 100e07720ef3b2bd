"""The code that runs inside the wall. The whole package is passed to the wall as data.

It imports only itself and the standard library, because no other part of the staff repository is visible inside.

    fork_server  the first process: imports NumPy or torch and the probes, then forks a submission on request
    submission   pid 1 of one submission's namespaces: holds its files, follows its cases, enforces their limits
    template     the process from which cases are forked: it never holds an input or a reply
    clock        the time of a case that counts: not the time in which it waited for a processor
    processes    what the processes of a case use, from /proc
    case         one probe call: gives up every privilege, imports `src`, sends one reply
    reply        loads and calls a probe, and turns the result into a reply
    cpp          the C++ extension of an assignment: its build, and what probes use of it
    imports      the allowed packages that a submission names, imported before its cases fork
    packages     the files of packages, in folders of libraries; the trusted side uses it too
    rehearsal    a case without student code, which checks from the inside that each protection is in force
    container    pid 1 of a container that serves one submission: fork server and submission in one process
    kernel       the few system calls that Python does not offer
    protocol     encodes plain data as bytes

    plain        a case without a wall, for development on systems that have none

Student code runs only in the process of a `case`.
"""

GRADER_DIRECTORY = "/grader"
"""The folder of this package, the probes and the configuration, as a path inside the wall; hidden from cases."""
CONFIGURATION_FILE = f"{GRADER_DIRECTORY}/configuration"
PROBES_FILE = f"{GRADER_DIRECTORY}/probes.py"
SUBMISSION_DIRECTORY = "/submission"
"""The folder that contains the submission's `src`, as a path inside the wall."""
BUILD_DIRECTORY = "/build"
"""The folder of the build, as a path inside the wall. It is empty except in the cases that need it.

No other folder that a submission fills may be mapped as machine code.
"""
WRITABLE_DIRECTORIES = ("/tmp", "/dev/shm")  # noqa: S108
"""The only folders that a case can write to. The next case sees nothing of their content."""
INSIDE_ID = 65532
"""The user id and group id of student code, as seen inside the wall."""
