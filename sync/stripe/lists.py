"""How Stripe's lists are asked for."""

PAGE_SIZE = 100  # Stripe's largest `limit`

# After all that `created` may be, test clocks' years included: what billstack.span_of has room for. Never sent as a filter.
END_OF_CREATED = 1 << 40


def created_filter(gte: int, lt: int) -> dict[str, str | int]:
    """Of a list request for [gte, lt). Stripe's `created` has whole seconds."""
    return {"created[gte]": gte, "created[lt]": lt} if lt < END_OF_CREATED else {"created[gte]": gte}
