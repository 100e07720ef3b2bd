"""Everything of ours that runs inside the wall, beside `autograder.sandbox.inside.protocol` and the standard library.

    warm        the first process: imports NumPy or torch and the probes, then forks a submission on request
    submission  pid 1 of one submission's namespaces: holds its files, forks its cases, keeps their limits
    case        one probe call: gives up every privilege, imports `src`, answers with one frame
    answer      calls the probe, says what came of it
    rehearsal   a case of our own, which looks for each protection from the inside
    container   the first process of a container for one submission: warm and submission in one
    kernel      the few system calls that Python does not have

    plain       a case without any wall, for development where there is none: it does not go inside

Only `case` ever has student code in its process. These files are handed to the wall as data; nothing else of
the staff repository is visible there.
"""
