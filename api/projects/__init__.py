"""A team's projects, their API keys and their customers."""
