"""The errors of the ledger. Each of them is a fault of the grader, so none ever costs a student points."""

from autograder.errors import ConfigError, GraderError


class LedgerError(GraderError):
    """The ledger cannot do what was asked; the message ends with what to do."""


class BadUrl(LedgerError, ConfigError):
    """This is not the URL of a ledger."""


class LedgerBusy(LedgerError):
    """Another process locks the ledger for too long. Nothing was written; the same call may succeed later."""


class IllegalTransition(LedgerError):
    """A job cannot move from its state to the one asked for."""


class Conflict(LedgerError):
    """Something else is already recorded under this name, and the ledger never overwrites."""


class Unknown(LedgerError):
    """There is no such repository, submission or job in the ledger."""
