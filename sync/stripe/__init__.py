"""Everything that talks to Stripe: requests, their budget and retries, and reading the answers."""
