"""The rows of the mirrored Stripe types, grouped like Stripe's documentation. sync/object_types.py joins them."""
