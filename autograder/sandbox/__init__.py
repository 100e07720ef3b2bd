"""The sandbox: student code runs only here.

kinds        the registry of sandboxes: `auto`, `bwrap`, `docker`, `none`
wall         the protocol `Wall`, which every sandbox implements, and the code that real walls share
bubblewrap   a wall of namespaces
policy       what the wall of namespaces shows and hides
docker       a wall of containers
none         no wall, for development
session      a submission that is open in a sandbox: send files, run probes
limits       what one case may use
control_groups   limits of everything that a submission uses together, where the machine has them
outcome      how one probe call ended
syscalls     a table of the system calls that are refused
seccomp      turns this table into a filter
doctor       tries whether the sandbox works on this machine
inside       the code that runs inside the wall
"""
