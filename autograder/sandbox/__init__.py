"""Where student code runs.

kinds        the registry of sandboxes: `auto`, `bwrap`, `docker`, `none`
wall         what runs submissions: the protocol `Wall`, and what real walls have in common
bubblewrap   a wall of namespaces; policy (what it shows and hides)
docker       a wall of containers
none         no wall, for development
session      a submission that is open in a sandbox: send files, run probes
limits       what one case may use
outcome      how one probe call ended
syscalls     the system calls that are refused, as a table; seccomp turns it into a filter
doctor       tries on this machine whether the sandbox holds
inside       what runs inside the wall
"""
