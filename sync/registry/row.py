"""What one mirrored Stripe type says of itself: how it is listed, which events tell of it, and how it is read and shown."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

FilterKind = Literal["text", "texts", "flag", "status"]


@dataclass(frozen=True, slots=True)
class NestedList:
    """A list inside an object, and where the whole of it is read: `{id}` in the path or a parameter is the object's.

    `is_expanded`: objects have it only where one asks for it, so that an event's copy never does.
    """

    field: str
    path: str
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_expanded: bool = False

    @property
    def endpoint(self) -> str:
        return f"list_{self.field}"

    def path_of(self, object_id: str) -> str:
        return self.path.format(id=id_in_path(object_id))


@dataclass(frozen=True, slots=True)
class Filter:
    """A parameter of Stripe's list that the mirror answers too: by the block `where_{name}` of api/gateway/store.sql.

    `values` are all that it may be; without any, it may be every text. `meanings` are words that stand for several values
    (None: for all). `default` is the block that narrows a list without this parameter, as Stripe's does, and its value.
    """

    name: str
    kind: FilterKind = "text"
    values: tuple[str, ...] = ()
    meanings: Mapping[str, list[str] | None] = dataclasses.field(default_factory=dict)
    default: tuple[str, bool] | None = None
    block: str = ""

    def __post_init__(self) -> None:
        if not self.block:
            object.__setattr__(self, "block", "statuses" if self.kind == "status" else self.name)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the explore pages, which comes from the table's column `key`.

    `kind` names the way templates/dashboard/explore_parts.html shows it; `to` is the table that an id leads to. `needs` is
    how much room a table must have to show it: any, "medium" or "wide" (dashboard.css).
    """

    title: str
    key: str
    kind: str = "text"
    to: str = ""
    words: str = ""  # the key of what is shown instead of an id
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Explored:
    """How the explore pages show a type. `stripe_path` is its page in Stripe's dashboard; empty: it has none.

    `place`: how far up it stands in the navigation. `finds`: where a text is looked for beside the id, as blocks of
    api/dashboard/mirror_rows.sql without their `or_`.
    """

    columns: tuple[Column, ...]
    stripe_path: str = ""
    finds: tuple[str, ...] = ()
    find_label: str = "Id"
    statuses: tuple[str, ...] = ()
    has_active: bool = False
    place: int = 10


@dataclass(frozen=True, slots=True)
class ObjectType:
    """One type. What follows from a type follows from its row: grants, filters, navigation, permissions, what we listen to.

    `ordinal` is its place on the number line of billstack.span_of: it never changes. `stripe_object` is Stripe's `object`
    value. `events` are the types of all events that carry such an object with an id; `deleted_by` is the one among them
    that says that it is gone. `variants` are the list filters that together give every object (stripe-facts: what lists
    leave out). `created_field` says when one was made. `reuses_ids`: people choose them, and may choose a deleted one's
    again. `is_reread`: of some changes Stripe tells nobody, so the newest are listed again and again. `permission` is what
    a restricted key needs to read them, `scope` what an API key of ours needs. `is_default`: each team mirrors it.
    """

    name: str
    table: str
    path: str
    ordinal: int
    group: str
    scope: str
    events: tuple[str, ...]
    explored: Explored
    filters: tuple[Filter, ...] = ()
    deleted_by: str | None = None
    stripe_object: str = ""
    variants: tuple[Mapping[str, str], ...] = ({},)
    nested: NestedList | None = None
    created_field: str = "created"
    reuses_ids: bool = False
    is_reread: bool = False
    is_default: bool = False
    permission: str = ""

    def __post_init__(self) -> None:
        if not self.permission:
            object.__setattr__(self, "permission", f"rak_{self.name}_read")
        if not self.stripe_object:
            object.__setattr__(self, "stripe_object", self.name)

    def path_of(self, object_id: str) -> str:
        """Where one object of this type is at Stripe."""
        return f"{self.path}/{id_in_path(object_id)}"

    @property
    def list_endpoint(self) -> str:
        """Name of the rate-limited operation at Stripe; each one has its own limit."""
        return f"list_{self.table}"

    @property
    def list_field(self) -> str | None:
        """Which of an object's fields is its embedded list."""
        return self.nested.field if self.nested else None

    @property
    def list_params(self) -> dict[str, str]:
        """What each of its lists is asked for beside filters."""
        return {"expand[0]": f"data.{self.nested.field}"} if self.nested and self.nested.is_expanded else {}

    @property
    def retrieve_params(self) -> dict[str, str]:
        return {"expand[0]": self.nested.field} if self.nested and self.nested.is_expanded else {}

    @property
    def hidden_fields(self) -> list[str]:
        """What the mirror has of each object and Stripe shows only where it is asked to."""
        return [self.nested.field] if self.nested and self.nested.is_expanded else []

    @property
    def retrieve_endpoint(self) -> str:
        return f"retrieve_{self.table}"

    @property
    def words(self) -> str:
        """For people: one of them."""
        return self.name.replace("_", " ")

    @property
    def title(self) -> str:
        """For people: all of them, as a heading."""
        return self.table.replace("_", " ").capitalize()


def id_in_path(object_id: str) -> str:
    """People choose ids of customers, products and plans, also with spaces, slashes and dots."""
    return quote(object_id, safe="") if object_id.strip(".") else object_id.replace(".", "%2E")


def events(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names)


# Columns that many types have -------------------------------------------------------------------------------------------

CREATED = Column("Created", "created", "day")
STATUS = Column("Status", "status", "status")
ACTIVE = Column("Active", "active", "flag")
CUSTOMER = Column("Customer", "customer", "link", to="customers", words="customer_email")
PRODUCT = Column("Product", "product", "link", to="products", words="product_name")
# Where a type of a customer is looked for, and what the field for it says.
OF_CUSTOMER = ("customer", "customer_email")
BY_CUSTOMER = "Customer's e-mail, or an id"
