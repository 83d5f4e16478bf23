"""Compares a whole mirror with Stripe and repairs what differs."""
