"""The steps that build the ledger's schema, for Alembic; they are in `versions`. A released step is never edited."""
