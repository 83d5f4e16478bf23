"""What Redis holds: request budgets, progress, heartbeats and counters."""
