"""The table of refused system calls (`syscalls`) as a program for the kernel's seccomp filter.

Theory of operation
-------------------
`program(machine)` turns the table into classic BPF for one architecture. The program first looks at the architecture
(any other, such as 32-bit calls on x86_64, kills the process), then at the number of the call, then, where a call has
conditions, at the lower halves of its arguments. What no row mentions is allowed, because namespaces, not this filter,
hide the host. The filter takes away what could reach around them: other namespaces, mounts, other processes, the
kernel's large and young interfaces, and whatever would let a case disturb or outlive pid 1 of its namespace, which has
the same user id.

The filter is built on the trusted side and loaded inside, in the case process, after everything that needs a
privilege. Calls newer than the newest one known here fail as they do on an older kernel, so programs fall back.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

from autograder.errors import GraderError
from autograder.sandbox.syscalls import CLONE_NEW, NEWEST_KNOWN, SYSCALLS, Condition, Syscall


@dataclass(frozen=True)
class Architecture:
    """A kind of machine that has a filter."""

    audit: int
    """AUDIT_ARCH_*, which the kernel passes to the filter with every call."""
    engine: str
    """What the profile of a container engine calls it."""


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, "SCMP_ARCH_X86_64"),
    "aarch64": Architecture(0xC00000B7, "SCMP_ARCH_AARCH64"),
}

# Classic BPF: an instruction is (code, jump if true, jump if false, constant); jumps count instructions.
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data, little-endian

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000

Instruction = tuple[int, int, int, int]


def program(machine: str = "") -> bytes:
    """Return the filter for `machine` (default: this one), as an array of struct sock_filter.

    Raises GraderError for an architecture that is not in ARCHITECTURES.
    """
    return b"".join(
        struct.pack("<HBBI", *instruction) for instruction in instructions(machine or platform.machine())
    )


def instructions(machine: str) -> list[Instruction]:
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 1, 0, _architecture(machine).audit),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_AT_LEAST, 0, 1, NEWEST_KNOWN + 1),  # the numbers of x32 are beyond it too
        (_RETURN, 0, 0, ERRNO | errno.ENOSYS),
    ]
    for call in SYSCALLS:
        number = call.number(machine)
        if number is not None:
            body = _body(call)
            code += [(_JUMP_EQUAL, 0, len(body), number), *body]
    return [*code, (_RETURN, 0, 0, ALLOW)]


def _architecture(machine: str) -> Architecture:
    if machine not in ARCHITECTURES:
        raise GraderError(
            f"there is no list of system calls for {machine!r} machines, only for {', '.join(ARCHITECTURES)}; "
            "use another machine"
        )
    return ARCHITECTURES[machine]


def _body(call: Syscall) -> list[Instruction]:
    """The instructions that decide one call, once its number is known."""
    if not call.allowed_if:
        return [_refusal(call)]
    steps = [step for condition in call.allowed_if for step in _test(condition, call)]
    return [*steps, (_RETURN, 0, 0, ALLOW)]


def _test(condition: Condition, call: Syscall) -> list[Instruction]:
    """Instructions that return the call's error when `condition` fails, and otherwise run into what follows them."""
    steps: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * condition.argument)]
    if condition.one_of:
        # Each match jumps over the tests after it and over the refusal.
        count = len(condition.one_of)
        steps += [(_JUMP_EQUAL, count - at, 0, value) for at, value in enumerate(condition.one_of)]
        return [*steps, _refusal(call)]
    for value in condition.none_of:
        steps += [(_JUMP_EQUAL, 0, 1, value), _refusal(call)]
    if condition.no_bits:
        steps += [(_JUMP_BITS, 0, 1, condition.no_bits), _refusal(call)]
    return steps


def _refusal(call: Syscall) -> Instruction:
    return (_RETURN, 0, 0, ERRNO | call.error)


# ── the same for a container engine ──────────────────────────────────────────────────────────────────────

_FAMILIES = 64
"""More address families than the kernel knows; it refuses by itself what it does not know."""


def container_profile(machine: str = "") -> dict[str, object]:
    """Return the same table as the profile of a container engine, for every process of a container, ours included.

    The stricter filter of each case is loaded on top of it: a profile cannot say "only these", so it holds only those
    conditions that can be written as a list. Raises GraderError for an architecture that is not in ARCHITECTURES.
    """
    machine = machine or platform.machine()
    engine = _architecture(machine).engine
    calls = {call.name: call for call in SYSCALLS if call.number(machine) is not None}
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [engine],
        "syscalls": [
            *(_rule(call) for call in calls.values() if not call.allowed_if),
            *(
                _rule(call, {"index": 0, "value": family, "op": "SCMP_CMP_EQ"})
                for call in (calls["socket"], calls["socketpair"])
                for family in range(_FAMILIES)
                if family not in call.allowed_if[0].one_of
            ),
            *(
                _rule(
                    calls["clone"], {"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}
                )
                for flag in (1 << bit for bit in range(32))
                if flag & CLONE_NEW
            ),
        ],
    }


def _rule(call: Syscall, *arguments: dict[str, object]) -> dict[str, object]:
    return {
        "names": [call.name],
        "action": "SCMP_ACT_ERRNO",
        "errnoRet": call.error,
        "args": list(arguments),
    }
