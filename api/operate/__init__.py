"""For the operators of the server: health, metrics, rq-dashboard, commands."""
