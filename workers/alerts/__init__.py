"""Sends alerts: by webhook, and by e-mail."""
