"""Alerts of a team: where they go, what is wrong now, and what was told."""
