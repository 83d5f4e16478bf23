"""Stripe and Postgres: what the mirror is and how it stays correct. Knows no Flask, Redis or RQ."""
