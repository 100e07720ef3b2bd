"""The system calls that student code may not make, as a program for the kernel's seccomp filter.

Theory of operation
-------------------
`REFUSED` and `CONDITIONS` are the policy: data, by name, with the
reason beside each group. `program(machine)` turns it into classic BPF for one architecture. The program looks
at the architecture first (another one, such as 32-bit calls on x86_64, kills the process), then at the
number, then where a condition says so at the lower halves of the arguments. What no rule mentions is allowed:
NumPy, torch, threads, subprocesses and compilers make several hundred different calls, and namespaces, not
this filter, are what hides the host. The filter takes away what could reach around them: other namespaces,
mounts, other processes, the kernel's large and young interfaces, and whatever would let a case disturb or
outlive its keeper (pid 1 of its namespace, which has the same uid).

It is built on the trusted side and loaded inside, in the case process, after everything that needs privilege
is done. Calls newer than the newest one known here are refused like on an older kernel: programs fall back.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

AF_UNIX = 1
AF_INET = 2


@dataclass(frozen=True)
class Condition:
    """Allows a call only when the lower 32 bits of one argument pass."""

    argument: int
    one_of: tuple[int, ...] = ()
    none_of: tuple[int, ...] = ()
    no_bits: int = 0


REFUSED: dict[str, tuple[str, ...]] = {
    "namespaces": (
        "unshare",
        "setns",
        "clone3",
    ),  # the flags of clone3 are in memory, out of a filter's sight
    "mounts": (
        *("mount", "umount2", "pivot_root", "chroot"),
        *("fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr"),
        *("statmount", "listmount", "name_to_handle_at", "open_by_handle_at"),
    ),
    "other processes": (
        *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease"),
        *("pidfd_getfd", "kcmp", "move_pages", "migrate_pages"),
    ),
    "keys": ("add_key", "request_key", "keyctl"),
    "the kernel itself": (
        *("bpf", "perf_event_open", "userfaultfd", "kexec_load", "kexec_file_load", "init_module"),
        *("finit_module", "delete_module", "create_module", "iopl", "ioperm", "modify_ldt", "syslog"),
        *("io_uring_setup", "io_uring_enter", "io_uring_register", "lookup_dcookie", "nfsservctl"),
        *("uselib", "ustat", "sysfs", "_sysctl", "set_mempolicy_home_node"),
    ),
    "the machine": (
        *("reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "sethostname", "setdomainname"),
        *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "vhangup"),
        *("fanotify_init", "fanotify_mark"),
    ),
    # Memory that belongs to no file system and no process, so that no limit but a cgroup's would count it,
    # and System V objects, which would outlive the case.
    "memory without an owner": (
        *("memfd_create", "memfd_secret", "shmget", "shmat", "semget", "msgget", "mq_open"),
    ),
}

_NEW_NAMESPACE_FLAGS = (
    0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
)

CONDITIONS: dict[str, tuple[Condition, ...]] = {
    "clone": (Condition(0, no_bits=_NEW_NAMESPACE_FLAGS),),
    # Sockets within the submission's own, empty network namespace. Others (vsock, netlink, packet, ...)
    # reach the hypervisor or the kernel.
    "socket": (Condition(0, one_of=(AF_UNIX, AF_INET)),),
    "socketpair": (Condition(0, one_of=(AF_UNIX,)),),
    "ioctl": (Condition(1, none_of=(0x5412, 0x541C)),),  # TIOCSTI, TIOCLINUX: typing into a terminal
    "personality": (Condition(0, one_of=(0, 0xFFFFFFFF)),),
    # Only of oneself: pid 1 of the namespace has the same uid, and must stay fast and alive.
    "prlimit64": (Condition(0, one_of=(0,)),),
    "sched_setaffinity": (Condition(0, one_of=(0,)),),
    "sched_setscheduler": (Condition(0, one_of=(0,)),),
    "sched_setparam": (Condition(0, one_of=(0,)),),
    "sched_setattr": (Condition(0, one_of=(0,)),),
    "setpriority": (Condition(0, one_of=(0,)), Condition(1, one_of=(0,))),
    "ioprio_set": (Condition(0, one_of=(1,)), Condition(1, one_of=(0,))),
}

_ERRNO: dict[str, int] = {
    "clone3": errno.ENOSYS,  # the C library falls back to clone
    **dict.fromkeys(("io_uring_setup", "io_uring_enter", "io_uring_register"), errno.ENOSYS),
    **dict.fromkeys(("socket", "socketpair"), errno.EAFNOSUPPORT),
}


@dataclass(frozen=True)
class Architecture:
    """What the filter must know of a machine."""

    audit: int
    """AUDIT_ARCH_*, which the kernel puts beside every call."""
    numbers: dict[str, int]


NEWEST_KNOWN = 462
"""mseal, of Linux 6.10. Since 424 new calls have the same number everywhere."""

_SHARED = {
    **{"pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
    **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
    **{"clone3": 435, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443},
    **{"memfd_secret": 447, "process_mrelease": 448, "set_mempolicy_home_node": 450},
    **{"statmount": 457, "listmount": 458},
}

ARCHITECTURES: dict[str, Architecture] = {
    "x86_64": Architecture(
        audit=0xC000003E,
        numbers={
            **{
                "ioctl": 16,
                "shmget": 29,
                "shmat": 30,
                "socket": 41,
                "socketpair": 53,
                "clone": 56,
                "semget": 64,
            },
            **{"msgget": 68, "ptrace": 101, "syslog": 103, "uselib": 134, "personality": 135, "ustat": 136},
            **{"sysfs": 139, "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144},
            **{"vhangup": 153, "modify_ldt": 154, "pivot_root": 155, "_sysctl": 156, "adjtimex": 159},
            **{"chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167},
            **{"swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172},
            **{
                "ioperm": 173,
                "create_module": 174,
                "init_module": 175,
                "delete_module": 176,
                "quotactl": 179,
            },
            **{"nfsservctl": 180, "sched_setaffinity": 203, "lookup_dcookie": 212, "clock_settime": 227},
            **{"mq_open": 240, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250},
            **{"ioprio_set": 251, "migrate_pages": 256, "unshare": 272, "move_pages": 279},
            **{"perf_event_open": 298, "fanotify_init": 300, "fanotify_mark": 301, "prlimit64": 302},
            **{"name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308},
            **{"process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313},
            **{
                "sched_setattr": 314,
                "memfd_create": 319,
                "kexec_file_load": 320,
                "bpf": 321,
                "userfaultfd": 323,
            },
            **_SHARED,
        },
    ),
    "aarch64": Architecture(
        audit=0xC00000B7,
        numbers={
            **{
                "lookup_dcookie": 18,
                "ioctl": 29,
                "ioprio_set": 30,
                "umount2": 39,
                "mount": 40,
                "pivot_root": 41,
            },
            **{"nfsservctl": 42, "chroot": 51, "vhangup": 58, "quotactl": 60, "acct": 89, "personality": 92},
            **{
                "unshare": 97,
                "kexec_load": 104,
                "init_module": 105,
                "delete_module": 106,
                "clock_settime": 112,
            },
            **{"syslog": 116, "ptrace": 117, "sched_setparam": 118, "sched_setscheduler": 119},
            **{"sched_setaffinity": 122, "setpriority": 140, "reboot": 142, "sethostname": 161},
            **{"setdomainname": 162, "settimeofday": 170, "adjtimex": 171, "mq_open": 180, "msgget": 186},
            **{"semget": 190, "shmget": 194, "shmat": 196, "socket": 198, "socketpair": 199, "add_key": 217},
            **{"request_key": 218, "keyctl": 219, "clone": 220, "swapon": 224, "swapoff": 225},
            **{"migrate_pages": 238, "move_pages": 239, "perf_event_open": 241, "prlimit64": 261},
            **{
                "fanotify_init": 262,
                "fanotify_mark": 263,
                "name_to_handle_at": 264,
                "open_by_handle_at": 265,
            },
            **{"clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271},
            **{"kcmp": 272, "finit_module": 273, "sched_setattr": 274, "memfd_create": 279, "bpf": 280},
            **{"userfaultfd": 282, "kexec_file_load": 294},
            **_SHARED,
        },
    ),
}

# Classic BPF: an instruction is (code, jump if true, jump if false, constant); jumps count instructions.
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data, little-endian

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000

Instruction = tuple[int, int, int, int]


def program(machine: str | None = None) -> bytes:
    """The filter for `machine` (default: this one), as an array of struct sock_filter.

    Raises KeyError for an architecture that is not in ARCHITECTURES.
    """
    return b"".join(
        struct.pack("<HBBI", *instruction) for instruction in instructions(machine or platform.machine())
    )


def instructions(machine: str) -> list[Instruction]:
    architecture = ARCHITECTURES[machine]
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_AT_LEAST, 0, 1, NEWEST_KNOWN + 1),  # x32 numbers are beyond it too
        (_RETURN, 0, 0, ERRNO | errno.ENOSYS),
    ]
    for names in REFUSED.values():
        for name in names:
            if name in architecture.numbers:  # some calls exist on one architecture only
                code += [(_JUMP_EQUAL, 0, 1, architecture.numbers[name]), _refuse(name)]
    for name, conditions in CONDITIONS.items():
        body = [step for condition in conditions for step in _check(condition, name)]
        body.append((_RETURN, 0, 0, ALLOW))
        code += [(_JUMP_EQUAL, 0, len(body), architecture.numbers[name]), *body]
    return [*code, (_RETURN, 0, 0, ALLOW)]


_FAMILIES = 64
"""More than the kernel knows of address families; what it does not know it refuses by itself."""


def container_profile(machine: str | None = None) -> dict[str, object]:
    """The same policy as a container engine takes it, for every process of a container, our own included.

    It lies under the filter of each case, which is stricter: a profile cannot say "none but", so of `CONDITIONS`
    it holds what can be listed. Raises KeyError for an architecture that is not in ARCHITECTURES.
    """
    machine = machine or platform.machine()
    names = ARCHITECTURES[machine].numbers
    refused = [name for group in REFUSED.values() for name in group if name in names]
    families = {
        name: [family for family in range(_FAMILIES) if family not in CONDITIONS[name][0].one_of]
        for name in ("socket", "socketpair")
    }
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [_ENGINE_ARCHITECTURES[machine]],
        "syscalls": [
            *(_refusal([name]) for name in refused),
            *(
                _refusal([name], {"index": 0, "value": family, "op": "SCMP_CMP_EQ"})
                for name, listed in families.items()
                for family in listed
            ),
            *(
                _refusal(["clone"], {"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"})
                for flag in _flags(_NEW_NAMESPACE_FLAGS)
            ),
        ],
    }


_ENGINE_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


def _refusal(names: list[str], *arguments: dict[str, object]) -> dict[str, object]:
    number = _ERRNO.get(names[0], errno.EPERM)
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": list(arguments)}


def _flags(mask: int) -> list[int]:
    return [1 << bit for bit in range(32) if mask & 1 << bit]


def _refuse(name: str) -> Instruction:
    return (_RETURN, 0, 0, ERRNO | _ERRNO.get(name, errno.EPERM))


def _check(condition: Condition, name: str) -> list[Instruction]:
    """Instructions that return the error when `condition` fails, and else go on after themselves."""
    steps: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * condition.argument)]
    if condition.one_of:
        # Each match jumps over the tests after it and over the refusal.
        count = len(condition.one_of)
        steps += [(_JUMP_EQUAL, count - at, 0, value) for at, value in enumerate(condition.one_of)]
        return [*steps, _refuse(name)]
    for value in condition.none_of:
        steps += [(_JUMP_EQUAL, 0, 1, value), _refuse(name)]
    if condition.no_bits:
        steps += [(_JUMP_BITS, 0, 1, condition.no_bits), _refuse(name)]
    return steps
