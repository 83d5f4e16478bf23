"""A sandbox Stripe: behaves like Stripe's API over accounts that it makes up, for demo, tests and benchmark."""
