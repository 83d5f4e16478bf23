"""The people in a team's projects, each linked to a Stripe customer."""
