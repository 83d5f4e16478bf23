"""Stripe and Postgres: what the mirror is and how it is kept true. Knows no Flask, Redis or RQ."""
