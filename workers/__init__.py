"""Redis and RQ: queues, jobs, progress, request budget, scheduler, worker entry."""
