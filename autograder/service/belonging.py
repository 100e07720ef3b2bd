"""Whether this machine belongs to the course: its secret, suites and reference are those of the ledger.

Inputs are drawn from the course secret, and the seals of published scores are made with it. A worker with another
secret would draw other inputs, and its seals would look like those of another course. So the ledger's audit trail holds
a fingerprint of the secret, and a process with another secret does not start. The fingerprint does not tell the secret.

A worker with another suite or reference is not stopped, because staff may just have corrected them. It says so.
"""

import hashlib
import hmac
import socket
from collections.abc import Mapping
from typing import Any

from autograder.config import SECRET_VARIABLE, Config
from autograder.errors import ConfigError
from autograder.ledger import Ledger

SUBJECT = "course secret"
FIRST, CHANGED = "first start", "ledger accept-secret"
DIGESTS = {"suite_digest": "suite", "reference_digest": "reference"}  # keys of a report's provenance


def fingerprint(secret: bytes) -> str:
    """Return what the ledger holds of a course secret: a keyed hash, from which nobody can compute the secret."""
    return hmac.new(secret, b"autograder: fingerprint of the course secret", hashlib.sha256).hexdigest()[:32]


def recorded(ledger: Ledger) -> str | None:
    """Return the fingerprint of the secret that counts; None if no process has started with this ledger.

    The last one that staff accepted counts. If there is no such one, the first counts: of two processes that start at
    the same time, each with a secret of its own, only one goes on.
    """
    lines = ledger.audit_lines(subject=SUBJECT)  # the latest first
    line = next((line for line in lines if line.what == CHANGED), lines[-1] if lines else None)
    return None if line is None else str(line.details["fingerprint"])


def require_secret(config: Config, ledger: Ledger) -> None:
    """Require that this machine has the course secret of the ledger. The first process makes and records it.

    Raises:
        ConfigError: the secret is missing here, or is another one.
    """
    known = recorded(ledger)
    own = fingerprint(config.secret(make=known is None))
    if known is None:
        _record(ledger, own, "autograder", FIRST, f"the service started on {socket.gethostname()}")
        known = recorded(ledger)
    if own != known:
        file = config.path(config.secret_file)
        raise ConfigError(
            f"the course secret of this machine ({SECRET_VARIABLE}, or the file {file}) is not that of the ledger; "
            "copy the secret from the machine that runs the service, or, if it was changed on purpose, run there: "
            "autograder ledger accept-secret --why REASON"
        )


def accept_secret(config: Config, ledger: Ledger, who: str, why: str) -> bool:
    """Record that the secret of this machine is the course secret from now on; return whether it was another one.

    Raises:
        ConfigError: the secret is missing here.
        LedgerError: who or why is empty.
    """
    own = fingerprint(config.secret(make=False))
    if own == recorded(ledger):
        return False
    _record(ledger, own, who, CHANGED, why)
    return True


def differences(ledger: Ledger, assignment: str, provenance: Mapping[str, Any]) -> list[str]:
    """Return which of suite and reference differ from those of the newest report of an assignment.

    Args:
        ledger: holds the reports.
        assignment: of the suite.
        provenance: of the suite server of this process.
    """
    newest = ledger.newest_provenance(assignment)
    if newest is None:
        return []
    return [
        word
        for key, word in DIGESTS.items()
        if newest.get(key) and provenance.get(key) and newest[key] != provenance[key]
    ]


def _record(ledger: Ledger, value: str, who: str, what: str, why: str) -> None:
    ledger.audit(who, what, why=why, subject=SUBJECT, details={"fingerprint": value})
