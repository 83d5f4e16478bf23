"""The Stripe account behind a team: connect, status, backfills, access with SQL."""
