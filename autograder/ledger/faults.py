"""The errors of the ledger. Each of them is a fault of the grader, so it never costs a student points."""

from autograder.errors import ConfigError, GraderError


class LedgerError(GraderError):
    """The ledger cannot do what was asked; the end of the message says what to do."""


class BadUrl(LedgerError, ConfigError):
    """The given text is not the URL of a ledger."""


class LedgerBusy(LedgerError):
    """Another process has locked the ledger for too long. Nothing was written; the same call may succeed later."""


class LedgerAway(LedgerError):
    """The database server does not answer, or is just starting. The same call may succeed in a moment."""


class IllegalTransition(LedgerError):
    """A job cannot move from its state to the requested state."""


class Conflict(LedgerError):
    """The ledger holds something else under this name, and it never overwrites what it holds."""


class Unknown(LedgerError):
    """There is no such repository, submission or job in the ledger."""
