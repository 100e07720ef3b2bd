import os
import resource

found = []
for name in [name for name in dir(resource) if name.startswith("RLIMIT_")]:
    kind = getattr(resource, name)
    soft, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        try:
            resource.setrlimit(kind, (hard + 1, hard + 1))
            found.append(f"raised {name}")
        except (OSError, ValueError):
            pass
    for pid in {1, (os.getppid() or 1)}:
        try:
            resource.prlimit(pid, kind, (0, 0))
            found.append(f"lowered {name} of {pid}")
        except OSError:
            pass
for pid in {1, (os.getppid() or 1)}:
    for call in (
        lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
        lambda: os.sched_setaffinity(pid, {0}),
        lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
    ):
        try:
            call()
            found.append(f"slowed {pid}")
        except OSError:
            pass

raise RuntimeError(f"found {found or 'nothing'}")
