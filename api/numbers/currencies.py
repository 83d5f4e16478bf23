"""The number of decimals that Stripe uses for a currency."""

# https://docs.stripe.com/currencies#minor-units. Stripe counts ISK and UGX in hundredths although they have none.
_BY_DECIMALS = {
    0: "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf",
    3: "bhd jod kwd omr tnd",
}
_DECIMALS = {currency: number for number, currencies in _BY_DECIMALS.items() for currency in currencies.split()}


def decimals(currency: str | None) -> int:
    return _DECIMALS.get((currency or "").lower(), 2)


def whole_units(amount: int, currency: str | None) -> float:
    """`980.5` for 98050 cents."""
    return float(amount / 10 ** decimals(currency))
