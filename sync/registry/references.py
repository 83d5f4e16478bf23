"""Which columns of the mirror's tables name objects of other types: by type, each column with what it may name.

The explore pages link along these in both directions. tests/sync/test_references.py holds them to schema.sql.
"""

from collections.abc import Mapping

REFERENCES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "product": {"default_price": ("price",)},
    "price": {"product": ("product",)},
    "subscription": {
        "customer": ("customer",),
        "price": ("price",),
        "product": ("product",),
        "latest_invoice": ("invoice",),
    },
    "invoice": {"customer": ("customer",), "subscription": ("subscription",)},
    "charge": {"customer": ("customer",), "invoice": ("invoice",), "payment_intent": ("payment_intent",)},
    "refund": {
        "customer": ("customer",),
        "charge": ("charge",),
        "payment_intent": ("payment_intent",),
        "balance_transaction": ("balance_transaction",),
    },
    "dispute": {
        "charge": ("charge",),
        "payment_intent": ("payment_intent",),
        "balance_transaction": ("balance_transaction",),
    },
    "payment_intent": {
        "customer": ("customer",),
        "latest_charge": ("charge",),
        "invoice": ("invoice",),
        "payment_method": ("payment_method",),
    },
    "setup_intent": {"customer": ("customer",), "payment_method": ("payment_method",)},
    "payout": {"balance_transaction": ("balance_transaction",), "original_payout": ("payout",)},
    "balance_transaction": {"source": ("charge", "refund", "payout", "transfer", "dispute")},
    "promotion_code": {"coupon": ("coupon",), "customer": ("customer",)},
    "checkout_session": {
        "customer": ("customer",),
        "payment_intent": ("payment_intent",),
        "setup_intent": ("setup_intent",),
        "subscription": ("subscription",),
        "invoice": ("invoice",),
        "payment_link": ("payment_link",),
    },
    "credit_note": {
        "customer": ("customer",),
        "invoice": ("invoice",),
        "refund": ("refund",),
        "customer_balance_transaction": ("customer_balance_transaction",),
    },
    "invoiceitem": {
        "customer": ("customer",),
        "invoice": ("invoice",),
        "subscription": ("subscription",),
        "price": ("price",),
        "product": ("product",),
    },
    "invoice_payment": {
        "invoice": ("invoice",),
        "payment_intent": ("payment_intent",),
        "charge": ("charge",),
    },
    "subscription_schedule": {
        "customer": ("customer",),
        "subscription": ("subscription",),
        "released_subscription": ("subscription",),
    },
    "transfer": {"source_transaction": ("charge",), "balance_transaction": ("balance_transaction",)},
    "payment_method": {"customer": ("customer",)},
    "tax_id": {"customer": ("customer",)},
    "customer_balance_transaction": {
        "customer": ("customer",),
        "invoice": ("invoice",),
        "credit_note": ("credit_note",),
        "checkout_session": ("checkout_session",),
    },
    "early_fraud_warning": {"charge": ("charge",), "payment_intent": ("payment_intent",)},
    "quote": {
        "customer": ("customer",),
        "invoice": ("invoice",),
        "subscription": ("subscription",),
        "subscription_schedule": ("subscription_schedule",),
    },
}
# Nobody looks for objects by these: no index has them, and what they name refers back in another way.
ONE_WAY = {
    ("product", "default_price"),  # the price names its product
    ("subscription", "product"),  # by way of its prices
    ("subscription", "latest_invoice"),  # the invoice names its subscription
    ("invoiceitem", "product"),  # by way of its prices
    ("credit_note", "customer_balance_transaction"),  # the transaction names its credit note
}
