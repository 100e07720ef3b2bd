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
        "524f9c15061dfcc8291e1102d23b0f41e814ecf78e1f22f5537360dad5dcdde9",
        "54449dbc13213c7b9fce8b814285cd137cf0675996da80330a7daa719d3a844c",
    ),
    "aarch64": (
        "db37b6e6fd9adbdf18f4e5a30786537bae7cdc37caffca9e9a87845d4f88efe0",
        "963b067e549a52ea146a59594b64ea991bebaf53556ba26ae6d4d87d1a312369",
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
        ("socketpair", (1, 1), True),
        ("socketpair", (2, 1), False),
        ("ioctl", (0, 0x5401), True),  # isatty
        ("ioctl", (0, 0x5412), False),
        ("ioctl", (0, 2**32 + 0x5412), False),
        ("ioctl", (0, 0x541C), False),
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
    results = {verdict("x86_64", number("x86_64", name), a, b) for a in range(64) for b in (0, 1, 0x5412)}
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


@pytest.mark.parametrize("machine", MACHINES)
def test_what_programs_need_is_allowed(machine: str) -> None:
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
