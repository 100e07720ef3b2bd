"""How the ledger's schema came about, for Alembic: one module in `versions` per step, never edited later."""
