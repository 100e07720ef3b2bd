"""The filter of system calls, run by a small interpreter of its language: what it refuses, and what it must allow."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import struct
from pathlib import Path

import pytest

from autograder.errors import GraderError
from autograder.sandbox import seccomp
from autograder.sandbox.seccomp import ALLOW, ARCHITECTURES, ERRNO, KILL_PROCESS
from autograder.sandbox.syscalls import NEWEST_KNOWN, SYSCALLS

MACHINES = tuple(ARCHITECTURES)
REFUSED = [call for call in SYSCALLS if not call.allowed_if]
IN_PART = [call for call in SYSCALLS if call.allowed_if]
DIGESTS = {
    "x86_64": (
        "8353865c240c3e1072841770d42788265425658054045d598a1a91551f6db6e0",
        "ccb84f974e0cb4dcb798002b77b9755d1d479e20cdfc6f62c8e49d0a67764760",
    ),
    "aarch64": (
        "bb508e90f8398e422ff6b89f298ad94cb98159f8938c20625a35416bf7df031b",
        "98739cdf87332da7f738f93c753ca2c8568a30839fb996191200e1aaba492119",
    ),
}
"""SHA-256 of the filter and of the container profile. Whoever means to change what is refused changes them too."""


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_changes_only_where_somebody_means_it(machine: str) -> None:
    profile = json.dumps(seccomp.container_profile(machine)).encode()
    made = tuple(hashlib.sha256(data).hexdigest() for data in (seccomp.program(machine), profile))
    assert made == DIGESTS[machine]


def test_every_call_stands_in_the_table_once() -> None:
    assert len({call.name for call in SYSCALLS}) == len(SYSCALLS)
    for machine in MACHINES:
        numbers = [number for call in SYSCALLS if (number := call.number(machine)) is not None]
        assert len(set(numbers)) == len(numbers)


@functools.cache
def loaded(machine: str) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("<HBBI", seccomp.program(machine)))


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter returns for one call, as the kernel would run it."""
    audit = ARCHITECTURES[machine].audit if audit is None else audit
    data = struct.pack("<IIQ6Q", number, audit, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    code = loaded(machine)
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, constant = code[at]
        at += 1
        if operation == 0x06:
            return constant
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, constant)
            continue
        taken = {
            0x15: accumulator == constant,
            0x35: accumulator >= constant,
            0x45: bool(accumulator & constant),
        }
        at += if_true if taken[operation] else if_false


def number(machine: str, name: str) -> int:
    (found,) = [call.number(machine) for call in SYSCALLS if call.name == name]
    assert found is not None
    return found


@pytest.mark.parametrize("machine", MACHINES)
def test_every_refused_call_is_refused_whatever_its_arguments(machine: str) -> None:
    for call in REFUSED:
        if (called := call.number(machine)) is not None:
            for argument in (0, 1, 2**32 - 1, 2**64 - 1):
                result = verdict(machine, called, argument, argument)
                assert result in (ERRNO | errno.EPERM, ERRNO | errno.ENOSYS), call.name


@pytest.mark.parametrize(
    ("name", "arguments", "allowed"),
    [
        ("clone", (0x01200011,), True),  # fork
        ("clone", (0x003D0F00,), True),  # pthread_create
        ("clone", (0x10000011,), False),
        ("clone", (0x00020000,), False),
        ("clone", (0x02000000,), False),
        ("clone", (0x20000000,), False),
        ("clone", (0x40000000,), False),
        ("socket", (1, 1), True),
        ("socket", (2, 1), True),
        ("socket", (2**32 + 2, 1), True),  # the kernel sees an int
        ("socket", (10, 1), False),  # inet6
        ("socket", (16, 3), False),  # netlink
        ("socket", (17, 3), False),  # packet
        ("socket", (38, 5), False),  # alg
        ("socket", (40, 1), False),  # vsock
        ("socket", (2**32 + 40, 1), False),
        ("socket", (2, 1, 6), True),
        ("socket", (2, 2, 17), True),
        ("socket", (2, 2, 1), False),  # icmp
        ("socket", (2, 1, 132), False),  # sctp
        ("socket", (2, 1, 262), False),  # mptcp
        ("socketpair", (1, 1), True),
        ("socketpair", (2, 1), False),
        ("ioctl", (0, 0x5401), True),  # isatty
        ("ioctl", (0, 0x5412), False),
        ("ioctl", (0, 2**32 + 0x5412), False),
        ("ioctl", (0, 0x541C), False),
        ("fcntl", (0, 3), True),
        ("fcntl", (0, 1024), False),  # F_SETLEASE
        ("fcntl", (0, 1026), False),  # F_NOTIFY
        ("prctl", (15,), True),  # PR_SET_NAME
        ("prctl", (62, 1), False),  # PR_SCHED_CORE
        ("prlimit64", (0, 7), True),
        ("prlimit64", (1, 7), False),
        ("setpriority", (0, 0, 19), True),
        ("setpriority", (0, 1, 19), False),
        ("setpriority", (2, 0, 19), False),  # every process of this user
        ("sched_setaffinity", (0,), True),
        ("sched_setaffinity", (1,), False),
        ("sched_setscheduler", (1,), False),
        ("sched_setattr", (1,), False),
        ("ioprio_set", (1, 0), True),
        ("ioprio_set", (3, 0), False),
        ("personality", (0xFFFFFFFF,), True),
        ("personality", (0x0040000,), False),
    ],
)
@pytest.mark.parametrize("machine", MACHINES)
def test_conditions(machine: str, name: str, arguments: tuple[int, ...], allowed: bool) -> None:
    assert (verdict(machine, number(machine, name), *arguments) == ALLOW) is allowed


@pytest.mark.parametrize("name", [call.name for call in IN_PART])
def test_every_condition_refuses_something(name: str) -> None:
    results = {
        verdict("x86_64", number("x86_64", name), a, b) for a in range(64) for b in (0, 1, 1024, 0x5412)
    }
    results |= {verdict("x86_64", number("x86_64", name), 1 << bit) for bit in range(32)}
    assert ALLOW in results
    assert len(results) > 1


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_kill_the_process(machine: str) -> None:
    assert verdict(machine, 1, audit=0x40000003) == KILL_PROCESS  # 32-bit x86


def test_the_second_call_table_of_x86_64_is_refused() -> None:
    for call in (0, 39, 101, 165, 520):
        assert verdict("x86_64", 0x40000000 | call) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_are_not_known_yet_are_refused(machine: str) -> None:
    assert verdict(machine, NEWEST_KNOWN + 1) == ERRNO | errno.ENOSYS
    assert verdict(machine, 0xFFFFFFFF) == ERRNO | errno.ENOSYS


ALLOWED = """
0:read 1:write 2:open 3:close 4:stat 5:fstat 6:lstat 7:poll 8:lseek 9:mmap 10:mprotect 11:munmap 12:brk
13:rt_sigaction 14:rt_sigprocmask 15:rt_sigreturn 17:pread64 18:pwrite64 19:readv 20:writev 21:access 22:pipe
23:select 24:sched_yield 25:mremap 26:msync 27:mincore 28:madvise 31:shmctl 32:dup 33:dup2 34:pause 35:nanosleep
36:getitimer 37:alarm 38:setitimer 39:getpid 40:sendfile 42:connect 43:accept 44:sendto 45:recvfrom 46:sendmsg
47:recvmsg 48:shutdown 49:bind 50:listen 51:getsockname 52:getpeername 54:setsockopt 55:getsockopt 57:fork
58:vfork 59:execve 60:exit 61:wait4 62:kill 63:uname 65:semop 66:semctl 67:shmdt 69:msgsnd 70:msgrcv 71:msgctl
73:flock 74:fsync 75:fdatasync 76:truncate 77:ftruncate 78:getdents 79:getcwd 80:chdir 81:fchdir 82:rename
83:mkdir 84:rmdir 85:creat 86:link 87:unlink 88:symlink 89:readlink 90:chmod 91:fchmod 92:chown 93:fchown
94:lchown 95:umask 96:gettimeofday 97:getrlimit 98:getrusage 99:sysinfo 100:times 102:getuid 104:getgid
105:setuid 106:setgid 107:geteuid 108:getegid 109:setpgid 110:getppid 111:getpgrp 113:setreuid 114:setregid
115:getgroups 116:setgroups 117:setresuid 118:getresuid 119:setresgid 120:getresgid 121:getpgid 122:setfsuid
123:setfsgid 124:getsid 125:capget 126:capset 127:rt_sigpending 128:rt_sigtimedwait 129:rt_sigqueueinfo
130:rt_sigsuspend 131:sigaltstack 132:utime 133:mknod 137:statfs 138:fstatfs 140:getpriority 143:sched_getparam
145:sched_getscheduler 146:sched_get_priority_max 147:sched_get_priority_min 148:sched_rr_get_interval 149:mlock
150:munlock 151:mlockall 152:munlockall 158:arch_prctl 160:setrlimit 177:get_kernel_syms 178:query_module
181:getpmsg 182:putpmsg 183:afs_syscall 184:tuxcall 185:security 186:gettid 187:readahead 188:setxattr
189:lsetxattr 190:fsetxattr 191:getxattr 192:lgetxattr 193:fgetxattr 194:listxattr 195:llistxattr 196:flistxattr
197:removexattr 198:lremovexattr 199:fremovexattr 200:tkill 201:time 202:futex 204:sched_getaffinity
205:set_thread_area 211:get_thread_area 213:epoll_create 214:epoll_ctl_old 215:epoll_wait_old
216:remap_file_pages 217:getdents64 218:set_tid_address 219:restart_syscall 220:semtimedop 221:fadvise64
222:timer_create 223:timer_settime 224:timer_gettime 225:timer_getoverrun 226:timer_delete 228:clock_gettime
229:clock_getres 230:clock_nanosleep 231:exit_group 232:epoll_wait 233:epoll_ctl 234:tgkill 235:utimes
236:vserver 237:mbind 238:set_mempolicy 239:get_mempolicy 241:mq_unlink 242:mq_timedsend 243:mq_timedreceive
244:mq_notify 245:mq_getsetattr 247:waitid 252:ioprio_get 257:openat 258:mkdirat 259:mknodat 260:fchownat
261:futimesat 262:newfstatat 263:unlinkat 264:renameat 265:linkat 266:symlinkat 267:readlinkat 268:fchmodat
269:faccessat 270:pselect6 271:ppoll 273:set_robust_list 274:get_robust_list 277:sync_file_range 280:utimensat
281:epoll_pwait 282:signalfd 283:timerfd_create 284:eventfd 285:fallocate 286:timerfd_settime
287:timerfd_gettime 288:accept4 289:signalfd4 290:eventfd2 291:epoll_create1 292:dup3 293:pipe2 295:preadv
296:pwritev 297:rt_tgsigqueueinfo 299:recvmmsg 307:sendmmsg 309:getcpu 315:sched_getattr 316:renameat2
317:seccomp 318:getrandom 322:execveat 324:membarrier 325:mlock2 326:copy_file_range 327:preadv2 328:pwritev2
329:pkey_mprotect 330:pkey_alloc 331:pkey_free 332:statx 334:rseq 424:pidfd_send_signal 434:pidfd_open
436:close_range 437:openat2 439:faccessat2 441:epoll_pwait2 444:landlock_create_ruleset 445:landlock_add_rule
446:landlock_restrict_self 449:futex_waitv 451:cachestat 452:fchmodat2 453:map_shadow_stack 454:futex_wake
455:futex_wait 456:futex_requeue 459:lsm_get_self_attr 460:lsm_set_self_attr 461:lsm_list_modules 462:mseal
"""
"""Every call of x86_64 that a case may make with any arguments. Whoever adds a call has thought about it."""


def test_every_call_of_the_kernel_has_been_decided() -> None:
    allowed = {int(word.partition(":")[0]) for word in ALLOWED.split()}
    table = {call.number("x86_64") for call in SYSCALLS}
    unassigned = {*range(335, 424)}  # Linux leaves these numbers free on x86_64
    assert not allowed & table
    assert allowed | table - {None} | unassigned == {*range(NEWEST_KNOWN + 1)}
    for called in allowed:
        assert verdict("x86_64", called) == verdict("x86_64", called, *[2**64 - 1] * 6) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_outside_the_table_are_allowed(machine: str) -> None:
    for call in {*range(400)} - {call.number(machine) for call in SYSCALLS}:
        assert verdict(machine, call) == ALLOW


def test_clone3_looks_absent_so_that_the_c_library_falls_back() -> None:
    assert verdict("x86_64", number("x86_64", "clone3")) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_every_jump_lands_inside_the_program(machine: str) -> None:
    code = seccomp.instructions(machine)
    assert len(code) < 4096
    for at, (operation, if_true, if_false, _) in enumerate(code):
        if operation in (0x15, 0x35, 0x45):
            assert max(if_true, if_false) < 256
            assert at + 1 + max(if_true, if_false) < len(code)
    assert code[-1][0] == 0x06


def test_another_machine_has_no_program() -> None:
    for build in (seccomp.program, seccomp.container_profile):
        with pytest.raises(
            GraderError, match="no list of system calls for 'm68k' machines, only for x86_64, aarch64"
        ):
            build("m68k")


HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", r"#define __NR_(\w+)\s+(\d+)"),
    "aarch64": ("/usr/include/asm-generic/unistd.h", r"#define __NR(?:3264)?_(\w+)\s+(\d+)"),
}


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_those_of_the_kernel_headers(machine: str) -> None:
    path, pattern = HEADERS[machine]
    if not os.path.exists(path):  # noqa: PTH110
        pytest.skip(f"{path} is not installed")
    known = {name: int(value) for name, value in re.findall(pattern, Path(path).read_text())}
    assert {call.name: call.number(machine) for call in SYSCALLS if call.name in known} == {
        call.name: known[call.name] for call in SYSCALLS if call.name in known
    }, "another number than the kernel's, or none where the kernel has one"
