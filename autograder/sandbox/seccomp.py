"""Turns the table of refused system calls (`syscalls`) into a program for the kernel's seccomp filter.

Theory of operation
-------------------
`program(machine)` turns the table into classic BPF for one architecture. The program first tests the architecture. A
call for another one, such as a 32-bit call on x86_64, kills the process. Then the program tests the number of the call.
If the call has conditions, the program tests the lower halves of the arguments last.

A call without a row in the table is allowed, because namespaces, not this filter, hide the host. The filter refuses the
calls that could get around the namespaces: calls for other namespaces, mounts and other processes, and the kernel's
large and young interfaces. It also refuses calls with which a case could disturb or outlive pid 1 of its namespace,
which has the same user id as the case.

The filter is built on the trusted side. The case process inside the wall loads it after all steps that need a
privilege. Calls newer than NEWEST_KNOWN fail as on an older kernel, so programs fall back to older calls.
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
    """A machine architecture for which a filter can be built."""

    audit: int
    """The constant AUDIT_ARCH_* that the kernel passes to the filter with every call."""
    engine: str
    """The name of the architecture in the profile of a container engine."""


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
        (_JUMP_AT_LEAST, 0, 1, NEWEST_KNOWN + 1),  # the numbers of x32 calls are also larger
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
    """Return the instructions that allow or refuse one call. They run when the number of the call has matched."""
    if not call.allowed_if:
        return [_refusal(call)]
    steps = [step for condition in call.allowed_if for step in _test(condition, call)]
    return [*steps, (_RETURN, 0, 0, ALLOW)]


def _test(condition: Condition, call: Syscall) -> list[Instruction]:
    """Return instructions that refuse the call if `condition` fails. Otherwise the program continues after them."""
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


# ── the table for a container engine ─────────────────────────────────────────────────────────────────────

_FAMILIES = 64
"""An upper bound for the numbers of the kernel's address families. The kernel itself refuses higher numbers."""


def container_profile(machine: str = "") -> dict[str, object]:
    """Return the table as the profile of a container engine. It applies to every process of a container, ours included.

    A profile cannot say "only these values", so it contains only the conditions that can be written as a list of
    refused values. It lets pid 1 make sessions, one for each case. Each case loads its stricter filter in addition.
    Raises GraderError for an architecture that is not in ARCHITECTURES.
    """
    machine = machine or platform.machine()
    engine = _architecture(machine).engine
    calls = {call.name: call for call in SYSCALLS if call.number(machine) is not None}
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [engine],
        "syscalls": [
            *(_rule(call) for call in calls.values() if not call.allowed_if and call.reason != "sessions"),
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
