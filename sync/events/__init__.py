"""Stripe's events: the ledger that keeps them, and their way into the mirror."""
