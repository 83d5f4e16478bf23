"""The commands that a person types (setup, demo, test, lint, bench), and what they share."""
