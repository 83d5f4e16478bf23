"""For the people who run the server: health, metrics, rq-dashboard, commands."""
