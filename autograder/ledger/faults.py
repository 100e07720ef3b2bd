"""What the ledger raises: all of it our fault, so no student ever pays for it."""

from autograder.errors import ConfigError, GraderError


class LedgerError(GraderError):
    """The ledger cannot do what was asked; the message ends with what to do."""


class BadUrl(LedgerError, ConfigError):
    """This is not the URL of a ledger."""


class LedgerBusy(LedgerError):
    """Somebody else holds the ledger for too long. Nothing was written; the same call may succeed later."""


class IllegalTransition(LedgerError):
    """A job cannot go from the state it is in to the one asked for."""


class Conflict(LedgerError):
    """Something else is already recorded under this name, and the ledger never overwrites."""


class Unknown(LedgerError):
    """There is no such repository, submission or job in the ledger."""
