"""The few Linux system calls that the standard library of Python 3.10 does not offer, called through ctypes.

Each function makes one call, or repeats it in a loop. If the call fails, the function raises an OSError that names the
call. The constants come from the kernel's headers.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_SET_MDWE = 65
_PR_GET_MDWE = 66
_PR_MDWE_REFUSE_EXEC_GAIN = 1
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}
_KEYCTL_JOIN_SESSION_KEYRING = 1
_SYS_CLOSE_RANGE = 436
_SYS_LANDLOCK_CREATE_RULESET = 444
_SYS_LANDLOCK_ADD_RULE = 445
_SYS_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_RULE_PATH_BENEATH = 1

PIECE_BYTES = 8 * 2**20

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(what: str, option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(option, *padded), what)


def unshare(flags: int) -> None:
    """Enter new namespaces."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def enter_namespace(fd: int, kind: int) -> None:
    """Enter the namespace that `fd` names. A pid namespace gets only the processes that are forked later."""
    _check(_libc.setns(fd, kind), f"setns({kind:#x})")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount `source` on `target`."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    _check(result, f"mount({kind or source!r} on {target!r}, {flags:#x}, {options!r})")


def unmount(target: str) -> None:
    """Remove the newest mount on `target`, even if a process still uses it."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount2({target!r})")


def adopt_orphans() -> None:
    """From now on, a descendant whose parent ends becomes a child of this process."""
    _prctl("PR_SET_CHILD_SUBREAPER", _PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(allowed: bool) -> None:
    """Set whether other processes of the same user may trace and read this process."""
    _prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, int(allowed))


def leave_session_keyring() -> None:
    """Leave the key ring that this process inherited from the process that started the wall."""
    number = _SYS_KEYCTL.get(os.uname().machine)
    if number is not None:
        _libc.syscall(
            number, _KEYCTL_JOIN_SESSION_KEYRING, None
        )  # errors are ignored: on a kernel without keys the call fails, but there is no key to leak


def bound_capabilities() -> None:
    """From now on, a program that is executed gets no capability. Processes keep the capabilities that they have."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # this kernel has no capability with this number


def drop_capabilities() -> None:
    """Give up every capability."""
    _prctl("PR_CAP_AMBIENT", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def capabilities() -> bool:
    """Return whether this process has any capability."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(header, sets), "capget")
    return any(sets)


def forbid_new_privileges() -> None:
    """From now on, set-user-id programs and file capabilities give no privileges."""
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def forbid_new_code() -> None:
    """From now on, memory that can be written, or that was ever writable, cannot become executable. Linux 6.3."""
    _prctl("PR_SET_MDWE", _PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN)


def can_forbid_new_code() -> bool:
    """Return whether this kernel has `forbid_new_code`."""
    return int(_libc.prctl(_PR_GET_MDWE, *map(ctypes.c_ulong, (0, 0, 0, 0)))) >= 0


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load_seccomp(program: bytes) -> None:
    """Filter the system calls of this thread and its children. `program`: an array of struct sock_filter."""
    descriptor = _Program(len(program) // 8, program)
    result = _libc.prctl(
        _PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(descriptor), 0, 0
    )
    _check(result, "PR_SET_SECCOMP")


class _RulesetAttribute(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


_FS_READ = 0b0000_0000_0000_1101  # execute, read file, read directory
_FS_LIST = 0b0000_0000_0000_1000  # read directory
_FS_V1, _FS_V2, _FS_V3, _FS_V5 = 0x1FFF, 0x3FFF, 0x7FFF, 0xFFFF
_FS_FILE = (
    0b1000_0000_0000_0111 | 1 << 14
)  # the rights that apply to a file: ioctl, execute, write, read, truncate
_SCOPED = 0b11  # abstract sockets and signals reach only processes of the same domain


def landlock_version() -> int:
    """Return the version of this kernel's Landlock interface; 0 if the kernel lacks it or has it switched off."""
    result = _libc.syscall(
        _SYS_LANDLOCK_CREATE_RULESET,
        None,
        ctypes.c_size_t(0),
        ctypes.c_uint32(_LANDLOCK_CREATE_RULESET_VERSION),
    )
    return max(0, int(result))


def landlock_ruleset(
    version: int, readable: Sequence[str], writable: Sequence[str], listed: Sequence[str] = ()
) -> int:
    """Return a descriptor of Landlock rules. A process that obeys them may read beneath `readable`, read and write
    beneath `writable`, list folders beneath `listed`, and signal only processes that obey the same rules."""
    handled = _FS_V1 if version < 2 else _FS_V2 if version < 3 else _FS_V3 if version < 5 else _FS_V5
    attribute = _RulesetAttribute(handled, 0, _SCOPED if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _check(
        _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(attribute), ctypes.c_size_t(size), 0),
        "landlock_create_ruleset",
    )
    for path, access in (
        *((path, _FS_READ) for path in readable),
        *((path, handled) for path in writable),
        *((path, _FS_LIST) for path in listed),
    ):
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = access if os.path.isdir(path) else access & _FS_FILE  # noqa: PTH112
        rule = _PathBeneath(allowed & handled, parent)
        added = _libc.syscall(
            _SYS_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, ctypes.byref(rule), 0
        )
        os.close(parent)
        _check(added, f"landlock_add_rule({path!r})")
    return ruleset


def landlock_restrict(ruleset: int) -> None:
    """Obey the rules of `ruleset` from now on. Call `forbid_new_privileges` before this."""
    _check(_libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")


_MADV_COLLAPSE = 25
_HUGE = 2 * 2**20


def huge_pages(first: int, last: int) -> None:
    """Gather the memory between two addresses in huge pages, so that a fork copies far fewer page table entries.

    This only saves time, so a failure (an older kernel, no free huge page) is ignored.
    """
    first, last = -(-first // _HUGE) * _HUGE, last // _HUGE * _HUGE
    if last > first:
        _libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_COLLAPSE)


def own_memory() -> Iterator[tuple[int, int]]:
    """Yield pieces of this process's own memory for `huge_pages`: their first and last addresses."""
    with open("/proc/self/maps") as file:  # noqa: PTH123
        lines = file.read().splitlines()
    for words in map(str.split, lines):
        if words[1].startswith("rw") and words[5:] in ([], ["[heap]"]):
            first, last = (int(number, 16) for number in words[0].split("-"))
            for start in range(first, last, PIECE_BYTES):
                yield start, min(start + PIECE_BYTES, last)


def close_descriptors_from(first: int) -> None:
    """Close every descriptor from `first` on."""
    if _libc.syscall(_SYS_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(0xFFFFFFFF), 0) < 0:
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))
