"""The table of system calls that a case may not make, or may make only with some arguments.

`seccomp` builds its filters from this table. Each row has the number of the call on each architecture (None where the
call does not exist), the reason for refusing it, and the error that a refused call returns. If the call is refused only
in part, the row also has the conditions under which it is allowed. Calls that are not in the table are allowed, because
NumPy, torch, threads, subprocesses and compilers make several hundred different calls. The reasons are:

    namespaces   a process in a new namespace has capabilities there, and could make most of the calls below
    mounts       a mount can show other files, or uncover files that are hidden
    processes    the call reads or changes another process, such as pid 1
    keys         keys belong to a user, not to a namespace
    kernel       the interface is large, young or obsolete; most security holes of kernels are in such interfaces
    machine      the call changes settings of the whole machine, makes it work for all its programs, or uses up what it
                 has only once
    watching     the call tells what other programs do with files that all of them may read, and so is a line between
                 submissions, or to a program outside
    memory       the memory belongs to no file system and no process, so only a control group would count it; System V
                 objects and message queues also outlive the case
    sockets      other address families (vsock, netlink, packet, ...) reach the hypervisor or the kernel, and other
                 protocols than TCP and UDP reach seldom used parts of it; the two families that are allowed stay
                 within the submission's own, empty network namespace
    terminal     the call can put input into a terminal, as if somebody typed it
    sessions     the kernel gives each session an equal share of the processors (autogroup), so a case has only one
    keeper       pid 1 of the namespace has the same user id, and a case must not slow it down or end it; so a case may
                 change limits and priorities only of its own process
"""

from __future__ import annotations

from errno import EAFNOSUPPORT, ENOSYS, EPERM
from typing import NamedTuple

NEWEST_KNOWN = 462
"""The number of mseal, a call of Linux 6.10. From number 424 on, a call has the same number on every architecture."""

AF_UNIX, AF_INET = 1, 2
DEFAULT_PROTOCOL, TCP, UDP = 0, 6, 17
F_SETLEASE, F_NOTIFY = 1024, 1026
PR_SCHED_CORE = 62
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
PERSONALITY_LINUX, PERSONALITY_QUERY = 0, 0xFFFFFFFF
PRIO_PROCESS, IOPRIO_WHO_PROCESS = 0, 1
CLONE_NEW = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""


class Condition(NamedTuple):
    """A test of the lower 32 bits of one argument. Exactly one of `one_of`, `none_of` and `no_bits` is given."""

    argument: int
    one_of: tuple[int, ...] = ()
    none_of: tuple[int, ...] = ()
    no_bits: int = 0


NO_NAMESPACE = (Condition(0, no_bits=CLONE_NEW),)
UNIX = (Condition(0, one_of=(AF_UNIX,)),)
UNIX_OR_INET = (
    Condition(0, one_of=(AF_UNIX, AF_INET)),
    Condition(2, one_of=(DEFAULT_PROTOCOL, TCP, UDP)),
)
NO_NOTICE = (Condition(1, none_of=(F_SETLEASE, F_NOTIFY)),)
NO_CORE = (Condition(0, none_of=(PR_SCHED_CORE,)),)
NO_TYPING = (Condition(1, none_of=(TIOCSTI, TIOCLINUX)),)
LINUX = (Condition(0, one_of=(PERSONALITY_LINUX, PERSONALITY_QUERY)),)
ITSELF = (Condition(0, one_of=(0,)),)
OWN_PRIORITY = (Condition(0, one_of=(PRIO_PROCESS,)), Condition(1, one_of=(0,)))
OWN_IO_PRIORITY = (Condition(0, one_of=(IOPRIO_WHO_PROCESS,)), Condition(1, one_of=(0,)))


class Syscall(NamedTuple):
    """One row of the table."""

    name: str
    x86_64: int | None
    aarch64: int | None
    reason: str
    error: int = EPERM
    """The error of a refused call. ENOSYS makes the C library fall back to an older call."""
    allowed_if: tuple[Condition, ...] = ()
    """The conditions that must all hold. A call without conditions is always refused."""

    def number(self, machine: str) -> int | None:
        """Return the number of the call on `machine`, or None if the call does not exist there."""
        return {"x86_64": self.x86_64, "aarch64": self.aarch64}[machine]


# fmt: off
SYSCALLS = (
    #        name                       x86_64  aarch64  reason        error  allowed if
    Syscall("unshare",                    272,      97,  "namespaces"),
    Syscall("setns",                      308,     268,  "namespaces"),
    Syscall("clone3",                     435,     435,  "namespaces",  ENOSYS),

    Syscall("mount",                      165,      40,  "mounts"),
    Syscall("umount2",                    166,      39,  "mounts"),
    Syscall("pivot_root",                 155,      41,  "mounts"),
    Syscall("chroot",                     161,      51,  "mounts"),
    Syscall("fsopen",                     430,     430,  "mounts"),
    Syscall("fsconfig",                   431,     431,  "mounts"),
    Syscall("fsmount",                    432,     432,  "mounts"),
    Syscall("fspick",                     433,     433,  "mounts"),
    Syscall("move_mount",                 429,     429,  "mounts"),
    Syscall("open_tree",                  428,     428,  "mounts"),
    Syscall("mount_setattr",              442,     442,  "mounts"),
    Syscall("statmount",                  457,     457,  "mounts"),
    Syscall("listmount",                  458,     458,  "mounts"),
    Syscall("name_to_handle_at",          303,     264,  "mounts"),
    Syscall("open_by_handle_at",          304,     265,  "mounts"),

    Syscall("ptrace",                     101,     117,  "processes"),
    Syscall("process_vm_readv",           310,     270,  "processes"),
    Syscall("process_vm_writev",          311,     271,  "processes"),
    Syscall("process_madvise",            440,     440,  "processes"),
    Syscall("process_mrelease",           448,     448,  "processes"),
    Syscall("pidfd_getfd",                438,     438,  "processes"),
    Syscall("kcmp",                       312,     272,  "processes"),
    Syscall("move_pages",                 279,     239,  "processes"),
    Syscall("migrate_pages",              256,     238,  "processes"),

    Syscall("add_key",                    248,     217,  "keys"),
    Syscall("request_key",                249,     218,  "keys"),
    Syscall("keyctl",                     250,     219,  "keys"),

    Syscall("bpf",                        321,     280,  "kernel"),
    Syscall("perf_event_open",            298,     241,  "kernel"),
    Syscall("userfaultfd",                323,     282,  "kernel"),
    Syscall("kexec_load",                 246,     104,  "kernel"),
    Syscall("kexec_file_load",            320,     294,  "kernel"),
    Syscall("init_module",                175,     105,  "kernel"),
    Syscall("finit_module",               313,     273,  "kernel"),
    Syscall("delete_module",              176,     106,  "kernel"),
    Syscall("create_module",              174,    None,  "kernel"),
    Syscall("iopl",                       172,    None,  "kernel"),
    Syscall("ioperm",                     173,    None,  "kernel"),
    Syscall("modify_ldt",                 154,    None,  "kernel"),
    Syscall("syslog",                     103,     116,  "kernel"),
    Syscall("io_uring_setup",             425,     425,  "kernel",      ENOSYS),
    Syscall("io_uring_enter",             426,     426,  "kernel",      ENOSYS),
    Syscall("io_uring_register",          427,     427,  "kernel",      ENOSYS),
    Syscall("lookup_dcookie",             212,      18,  "kernel"),
    Syscall("nfsservctl",                 180,      42,  "kernel"),
    Syscall("uselib",                     134,    None,  "kernel"),
    Syscall("ustat",                      136,    None,  "kernel"),
    Syscall("sysfs",                      139,    None,  "kernel"),
    Syscall("_sysctl",                    156,    None,  "kernel"),
    Syscall("set_mempolicy_home_node",    450,     450,  "kernel"),

    Syscall("reboot",                     169,     142,  "machine"),
    Syscall("swapon",                     167,     224,  "machine"),
    Syscall("swapoff",                    168,     225,  "machine"),
    Syscall("acct",                       163,      89,  "machine"),
    Syscall("quotactl",                   179,      60,  "machine"),
    Syscall("quotactl_fd",                443,     443,  "machine"),
    Syscall("sethostname",                170,     161,  "machine"),
    Syscall("setdomainname",              171,     162,  "machine"),
    Syscall("settimeofday",               164,     170,  "machine"),
    Syscall("clock_settime",              227,     112,  "machine"),
    Syscall("clock_adjtime",              305,     266,  "machine"),
    Syscall("adjtimex",                   159,     171,  "machine"),
    Syscall("vhangup",                    153,      58,  "machine"),
    Syscall("fanotify_init",              300,     262,  "machine"),
    Syscall("fanotify_mark",              301,     263,  "machine"),

    Syscall("sync",                       162,      81,  "machine"),
    Syscall("syncfs",                     306,     267,  "machine"),
    Syscall("io_setup",                   206,       0,  "machine",     ENOSYS),
    Syscall("io_destroy",                 207,       1,  "machine",     ENOSYS),
    Syscall("io_submit",                  209,       2,  "machine",     ENOSYS),
    Syscall("io_cancel",                  210,       3,  "machine",     ENOSYS),
    Syscall("io_getevents",               208,       4,  "machine",     ENOSYS),
    Syscall("io_pgetevents",              333,     292,  "machine",     ENOSYS),

    Syscall("inotify_init",               253,    None,  "watching",    ENOSYS),
    Syscall("inotify_init1",              294,      26,  "watching",    ENOSYS),
    Syscall("inotify_add_watch",          254,      27,  "watching",    ENOSYS),
    Syscall("inotify_rm_watch",           255,      28,  "watching",    ENOSYS),

    Syscall("memfd_create",               319,     279,  "memory"),
    Syscall("memfd_secret",               447,     447,  "memory"),
    Syscall("shmget",                      29,     194,  "memory"),
    Syscall("shmat",                       30,     196,  "memory"),
    Syscall("semget",                      64,     190,  "memory"),
    Syscall("msgget",                      68,     186,  "memory"),
    Syscall("mq_open",                    240,     180,  "memory"),
    Syscall("vmsplice",                   278,      75,  "memory",      ENOSYS),
    Syscall("tee",                        276,      77,  "memory",      ENOSYS),
    Syscall("splice",                     275,      76,  "memory",      ENOSYS),

    Syscall("setsid",                     112,     157,  "sessions"),

    # Refused only in part:
    Syscall("clone",                       56,     220,  "namespaces",  EPERM, NO_NAMESPACE),
    Syscall("socket",                      41,     198,  "sockets",     EAFNOSUPPORT, UNIX_OR_INET),
    Syscall("socketpair",                  53,     199,  "sockets",     EAFNOSUPPORT, UNIX),
    Syscall("ioctl",                       16,      29,  "terminal",    EPERM, NO_TYPING),
    Syscall("fcntl",                       72,      25,  "watching",    EPERM, NO_NOTICE),
    Syscall("prctl",                      157,     167,  "machine",     EPERM, NO_CORE),
    Syscall("personality",                135,      92,  "kernel",      EPERM, LINUX),
    Syscall("prlimit64",                  302,     261,  "keeper",      EPERM, ITSELF),
    Syscall("sched_setaffinity",          203,     122,  "keeper",      EPERM, ITSELF),
    Syscall("sched_setscheduler",         144,     119,  "keeper",      EPERM, ITSELF),
    Syscall("sched_setparam",             142,     118,  "keeper",      EPERM, ITSELF),
    Syscall("sched_setattr",              314,     274,  "keeper",      EPERM, ITSELF),
    Syscall("setpriority",                141,     140,  "keeper",      EPERM, OWN_PRIORITY),
    Syscall("ioprio_set",                 251,      30,  "keeper",      EPERM, OWN_IO_PRIORITY),
)
# fmt: on
