"""A sandbox Stripe: behaves like Stripe's API with made-up accounts, for the demo, tests and benchmark."""
