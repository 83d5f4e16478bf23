"""The row of a mirrored Stripe type: how it is listed, which events carry it, and how it is read and shown."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

ListKind = Literal["created", "cursor", "parent"]
FilterKind = Literal["text", "texts", "flag", "status"]


@dataclass(frozen=True, slots=True)
class NestedList:
    """A list inside an object, and where to read all of it. `{id}` in the path or a parameter is the object's.

    `is_expanded`: Stripe includes the list only on request, so an event's copy of the object never has it.
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
class Parent:
    """The type under whose objects a type is listed. `{id}` in `path` is the parent's id.

    `field` is the column and the field of an object that names its parent. An object whose field is empty belongs to
    no list, so it counts as deleted. `holds_objects`: one object, too, is read under its parent.
    """

    type: str
    path: str
    field: str
    holds_objects: bool = False

    def path_of(self, parent_id: str) -> str:
        return self.path.format(id=id_in_path(parent_id))


@dataclass(frozen=True, slots=True)
class Filter:
    """A list parameter of Stripe that the mirror supports, with the block `where_{name}` of api/gateway/store.sql.

    `values` are all allowed values; without any, every text is allowed. `meanings` are words that stand for several
    values (None: for all). `default` is the block, with its value, that narrows a list without this parameter, as
    Stripe's does. `through` is another type, by way of whose objects it narrows the list: the block `known_{name}`
    returns a row if the mirror knows what the value selects.
    """

    name: str
    kind: FilterKind = "text"
    values: tuple[str, ...] = ()
    meanings: Mapping[str, list[str] | None] = dataclasses.field(default_factory=dict)
    default: tuple[str, bool] | None = None
    block: str = ""
    through: str = ""

    def __post_init__(self) -> None:
        if not self.block:
            object.__setattr__(self, "block", "statuses" if self.kind == "status" else self.name)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the explore pages, from the table's column `key`.

    `kind` selects how templates/dashboard/explore_parts.html shows it. `to` is the table that an id links to. `needs`
    is the width at which the column appears: any, "medium" or "wide" (dashboard.css). `stored` are the table's columns
    that it is made of, where these are not `key` alone: the first that is not NULL.
    """

    title: str
    key: str
    kind: str = "text"
    to: str = ""
    words: str = ""  # the key of a text to show instead of the id
    needs: str = ""
    stored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explored:
    """How the explore pages show a type. `stripe_path` is its page in Stripe's dashboard, or empty if it has none.

    `place` is its position in the navigation. `finds`: where to search for a text, besides the id; names of blocks in
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
    """One type. Its grants, filters, navigation entry, permissions and events all follow from this row.

    `ordinal` is its place on the number line of billstack.span_of and never changes. `stripe_object` is Stripe's
    `object` value. `events` are the types of all events that carry such an object with an id. `deleted_by` is the one
    that means that the object is gone. `variants` are the list filters that together give every object (stripe-facts:
    what lists leave out). `expanded` are fields that Stripe shows only on request; no event's copy has them.
    `names_prices` are places in an object, besides its nested list, that name prices; no list of Stripe has inline ones.
    `parent`: it has no list of its own, only one under each object of another type. `lists` is "cursor" if the list
    takes no `created`. `created_field` has the creation time. `reuses_ids`: people choose the ids, and may choose a
    deleted object's id again. `is_reread`: Stripe sends no events for some changes, so the newest objects are listed
    again regularly. `permission` is what a restricted key needs to read them, `scope` what our own API keys need.
    `has_unlisted`: an object may exist that no list has and nothing mirrored names. `is_default`: every team mirrors it.
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
    expanded: tuple[str, ...] = ()
    names_prices: tuple[str, ...] = ()
    parent: Parent | None = None
    created_field: str = "created"
    lists: ListKind = "created"
    reuses_ids: bool = False
    is_reread: bool = False
    has_unlisted: bool = False
    is_default: bool = False
    permission: str = ""
    heading: str = ""  # if the name of the table does not read well

    def __post_init__(self) -> None:
        if not self.permission:
            object.__setattr__(self, "permission", f"rak_{self.name}_read")
        if not self.stripe_object:
            object.__setattr__(self, "stripe_object", self.name)
        if self.parent:
            object.__setattr__(self, "lists", "parent")

    def path_of(self, object_id: str, parent_id: str = "") -> str:
        """The path of one object of this type at Stripe. Some are read under their parent."""
        path = self.parent.path_of(parent_id) if self.parent and self.parent.holds_objects else self.path
        return f"{path}/{id_in_path(object_id)}"

    @property
    def is_by_time(self) -> bool:
        """Whether its list takes `created`. Otherwise it is read in order, as if all were created in the second 0."""
        return self.lists == "created"

    @property
    def parent_field(self) -> str | None:
        return self.parent.field if self.parent else None

    @property
    def paging_field(self) -> str:
        """The field that a page's place in time is read from; of other lists, one that no object has."""
        return self.created_field if self.is_by_time else "(none)"

    @property
    def list_endpoint(self) -> str:
        """Name of the rate-limited operation at Stripe. Each operation has its own limit."""
        return f"list_{self.table}"

    @property
    def list_field(self) -> str | None:
        """The object's field that contains its embedded list."""
        return self.nested.field if self.nested else None

    @property
    def list_params(self) -> dict[str, str]:
        """The parameters of each of its lists, besides filters."""
        return {f"expand[{at}]": f"data.{field}" for at, field in enumerate(self.hidden_fields)}

    @property
    def retrieve_params(self) -> dict[str, str]:
        return {f"expand[{at}]": field for at, field in enumerate(self.hidden_fields)}

    @property
    def hidden_fields(self) -> list[str]:
        """Fields that the mirror has and that Stripe shows only on request."""
        return [*([self.nested.field] if self.nested and self.nested.is_expanded else []), *self.expanded]

    @property
    def retrieve_endpoint(self) -> str:
        return f"retrieve_{self.table}"

    @property
    def words(self) -> str:
        """One object, in words for people."""
        return self.name.replace("_", " ")

    @property
    def title(self) -> str:
        """All objects, as a heading for people."""
        return self.heading or self.table.replace("_", " ").capitalize()


def id_in_path(object_id: str) -> str:
    """Escapes an id for a path: people choose ids of customers, products and plans, even with spaces or slashes."""
    return quote(object_id, safe="") if object_id.strip(".") else object_id.replace(".", "%2E")


def events(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names)


# Columns that many types have -----------------------------------------------------------------------------------------

CREATED = Column("Created", "created", "day")
STATUS = Column("Status", "status", "status")
ACTIVE = Column("Active", "active", "flag")
CUSTOMER = Column("Customer", "customer", "link", to="customers", words="customer_email")
PRODUCT = Column("Product", "product", "link", to="products", words="product_name")
# Where to search for a type that has a customer, and the label of that search field.
OF_CUSTOMER = ("customer", "customer_email")
BY_CUSTOMER = "Customer's e-mail, or an id"
