"""Receives a team's events from Stripe, sets up their webhook and reports on it."""
