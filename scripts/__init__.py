"""What a person types: setup, demo, test, lint, bench; and what these share."""
