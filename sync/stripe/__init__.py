"""Bytes in and out: how Stripe is called, paid for, retried and read."""
