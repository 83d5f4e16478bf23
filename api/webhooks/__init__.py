"""Where Stripe delivers a team's events, and how that is set up and shown."""
