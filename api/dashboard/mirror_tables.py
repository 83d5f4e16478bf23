"""The tables of the explore pages: each type's columns, how they are shown, and how to search them.

A type is a row here, as in sync/object_types.py.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """`kind` selects how templates/dashboard/explore_parts.html shows the value. `to` is the table that an id links to.

    `needs` is the width at which the column appears: any, "medium" or "wide" (dashboard.css).
    """

    title: str
    key: str
    kind: str = "text"
    to: str = ""
    words: str = ""  # the key of a text to show instead of the id
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """`finds`: where to search for a text, besides the id; names of mirror_rows.sql blocks without their `or_`."""

    name: str
    one: str
    stripe_path: str
    columns: tuple[Column, ...]
    finds: tuple[str, ...] = ()
    find_label: str = "Id"
    statuses: tuple[str, ...] = ()
    has_active: bool = False


_CREATED = Column("Created", "created", "day")
_STATUS = Column("Status", "status", "status")
_ACTIVE = Column("Active", "active", "flag")
_CUSTOMER = Column("Customer", "customer", "link", to="customers", words="customer_email")
_PRODUCT = Column("Product", "product", "link", to="products", words="product_name")
_OF_CUSTOMER = ("customer", "customer_email")
_BY_CUSTOMER = "Customer's e-mail, or an id"

_TABLES = (
    Table(
        "customers",
        "customer",
        stripe_path="customers",
        columns=(
            Column("E-mail", "email", "title"),
            Column("Name", "name"),
            Column("Balance", "balance", "money"),
            Column("Delinquent", "delinquent", "flag", needs="medium"),
            _CREATED,
        ),
        finds=("email",),
        find_label="E-mail or id",
    ),
    Table(
        "products",
        "product",
        stripe_path="products",
        columns=(
            Column("Name", "name", "title"),
            _ACTIVE,
            _CREATED,
            Column("Description", "description", needs="medium"),
        ),
        has_active=True,
    ),
    Table(
        "prices",
        "price",
        stripe_path="prices",
        columns=(
            Column("Price", "nickname", "title"),
            _PRODUCT,
            Column("Amount", "unit_amount", "money"),
            Column("Every", "every"),
            _ACTIVE,
            _CREATED,
        ),
        finds=("product",),
        find_label="Id of a price or product",
        has_active=True,
    ),
    Table(
        "subscriptions",
        "subscription",
        stripe_path="subscriptions",
        columns=(
            Column("Subscription", "id", "title"),
            _STATUS,
            _CUSTOMER,
            _PRODUCT,
            Column("Quantity", "quantity", "number", needs="wide"),
            Column("Period ends", "current_period_end", "day", needs="medium"),
            _CREATED,
        ),
        finds=_OF_CUSTOMER,
        find_label=_BY_CUSTOMER,
        statuses=(
            "active",
            "trialing",
            "past_due",
            "unpaid",
            "incomplete",
            "incomplete_expired",
            "paused",
            "canceled",
        ),
    ),
    Table(
        "invoices",
        "invoice",
        stripe_path="invoices",
        columns=(
            Column("Invoice", "number", "title"),
            _STATUS,
            Column("Total", "total", "money"),
            Column("Remaining", "amount_remaining", "money", needs="medium"),
            _CUSTOMER,
            _CREATED,
        ),
        finds=_OF_CUSTOMER,
        find_label=_BY_CUSTOMER,
        statuses=("draft", "open", "paid", "uncollectible", "void"),
    ),
    Table(
        "charges",
        "charge",
        stripe_path="payments",
        columns=(
            Column("Charge", "id", "title"),
            _STATUS,
            Column("Amount", "amount", "money"),
            Column("Refunded", "amount_refunded", "money", needs="medium"),
            _CUSTOMER,
            _CREATED,
            Column("Note", "note", needs="wide"),
        ),
        finds=_OF_CUSTOMER,
        find_label=_BY_CUSTOMER,
        statuses=("succeeded", "pending", "failed"),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _TABLES}
# Shown on a customer's page, below the customer.
OF_A_CUSTOMER = tuple(table for table in _TABLES if table.finds == _OF_CUSTOMER)
