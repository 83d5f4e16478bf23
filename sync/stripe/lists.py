"""Parameters of Stripe's lists."""

PAGE_SIZE = 100  # Stripe's largest `limit`

# Later than any `created`, even with test clocks: the highest value that billstack.span_of supports. Never sent to
# Stripe.
END_OF_CREATED = 1 << 40


def created_filter(gte: int, lt: int) -> dict[str, str | int]:
    """The filter of a list request for [gte, lt). Stripe's `created` has whole seconds."""
    return {"created[gte]": gte, "created[lt]": lt} if lt < END_OF_CREATED else {"created[gte]": gte}
