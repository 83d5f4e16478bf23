"""The Stripe account behind a team: connect, status, backfills, database access."""
