"""What a restricted key must be allowed to do, and Stripe's page that makes such a key.

Stripe documents neither the address nor all of the names. Both are as many integrations use them; the names are those of
Stripe's own 403 answers. Stripe ignores a name that it does not know, so the page lists the permissions too.
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from sync.object_types import OBJECT_TYPES

_CREATE = "https://dashboard.stripe.com/apikeys/create"


@dataclass(frozen=True, slots=True)
class Permission:
    """`name` is Stripe's own, `row` how its dashboard lists it."""

    name: str
    row: str
    level: str
    use: str


def needed() -> list[Permission]:
    types = [
        Permission(each.permission, each.table.capitalize(), "Read", "the mirror") for each in OBJECT_TYPES.values()
    ]
    return [
        Permission("rak_accounts_kyc_basic_read", "Account", "Read", "to know whose key it is"),
        *types,
        Permission("rak_event_read", "Events", "Read", "what changes while and after it is copied"),
        Permission("rak_webhook_read", "Webhook endpoints", "Read", "to look whether the webhook is right"),
        Permission("rak_webhook_write", "Webhook endpoints", "Write", "to set up the webhook"),
    ]


def optional() -> list[Permission]:
    return [Permission("rak_customer_write", "Customers", "Write", "only where your projects add customers")]


def link() -> str:
    permissions = [(f"permissions[{index}]", each.name) for index, each in enumerate(needed())]
    return f"{_CREATE}?{urlencode([('name', 'BillStack'), *permissions])}"
