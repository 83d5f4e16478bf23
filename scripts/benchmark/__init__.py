"""The parts of ./scripts/bench: what is run, how it is measured, what it is measured against, and how that is shown."""
