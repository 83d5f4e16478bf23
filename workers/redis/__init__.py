"""What lives in Redis: request budgets, progress, heartbeats, counters."""
