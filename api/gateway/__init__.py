"""The mirror as Stripe would show it."""
