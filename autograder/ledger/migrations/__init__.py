"""The steps by which the ledger's schema developed, for Alembic, in `versions`. A released step is never edited."""
