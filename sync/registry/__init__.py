"""The rows of mirrored Stripe types, grouped as Stripe's documentation groups them; sync/object_types.py joins them."""
