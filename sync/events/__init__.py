"""Stripe's events: the ledger that keeps them, and how they reach the mirror."""
