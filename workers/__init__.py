"""Redis and RQ: queues, jobs, progress, request budgets, the scheduler and the workers."""
