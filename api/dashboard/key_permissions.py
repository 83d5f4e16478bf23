"""The permissions that a restricted key needs, and a link to Stripe's page that creates such a key.

Stripe does not document the address, nor all of the names. Many integrations use this address, and the names come from
Stripe's own 403 answers. Stripe ignores names that it does not know, so the page also lists the permissions.
"""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlencode

from sync.object_types import in_order

_CREATE = "https://dashboard.stripe.com/apikeys/create"


@dataclass(frozen=True, slots=True)
class Permission:
    """`name` is Stripe's own; `row` is its name in Stripe's dashboard."""

    name: str
    row: str
    level: str
    use: str


def needed(mirrored: Collection[str]) -> list[Permission]:
    """The permissions for a mirror of these types. Several types may share one."""
    names = {each.permission: each.title for each in reversed(in_order(mirrored))}
    types = [Permission(name, row, "Read", "the mirror") for name, row in reversed(names.items())]
    return [
        Permission("rak_accounts_kyc_basic_read", "Account", "Read", "to identify the account"),
        *types,
        Permission("rak_event_read", "Events", "Read", "to keep up with changes"),
        Permission("rak_webhook_read", "Webhook endpoints", "Read", "to check the webhook"),
        Permission("rak_webhook_write", "Webhook endpoints", "Write", "to set up the webhook"),
    ]


def optional() -> list[Permission]:
    return [Permission("rak_customer_write", "Customers", "Write", "only if your projects add customers")]


def link(mirrored: Collection[str]) -> str:
    permissions = [(f"permissions[{index}]", each.name) for index, each in enumerate(needed(mirrored))]
    return f"{_CREATE}?{urlencode([('name', 'BillStack'), *permissions])}"
