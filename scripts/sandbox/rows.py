"""The row of one type of the sandbox: the address of its list, and the list's filters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from scripts.sandbox.shapes import Json

Facet = str | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Filter:
    """A list parameter that compares one facet. `meanings` are words that stand for several values (None: for any)."""

    facet: str
    allowed: tuple[str, ...] = ()
    meanings: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    default: frozenset[str] | None = None

    def accepted(self, value: str) -> frozenset[str] | None:
        return self.meanings[value] if value in self.meanings else frozenset((value,))


@dataclass(frozen=True, slots=True)
class Kind:
    """One type. `facets` reads filterable values out of an object; those in `indexed` have a timeline of their own."""

    name: str
    plural: str
    id_prefix: str
    id_length: int
    permission: str
    facets: Mapping[str, Callable[[Json], Facet]] = field(default_factory=dict)
    indexed: tuple[str, ...] = ()
    filters: Mapping[str, Filter] = field(default_factory=dict)
    unsupported: tuple[str, ...] = ()  # filters of Stripe that the sandbox refuses
    children: str | None = None
    hides_children: bool = False  # the list appears only if it is expanded
    event_prefix: str = ""
    events: tuple[str, ...] = ("created", "updated", "deleted")  # for creating, changing and deleting, if any
    event_names: Mapping[str, str] = field(default_factory=dict)  # where Stripe has another word for one of those
    deletable: bool = False
    object: str = ""
    created: str = "created"  # the field with the creation time; empty if no object says it
    lists_by_time: bool = True  # the list takes `created`
    parent: str = ""  # the field of an object that names its customer: it is listed under that customer only
    under: str = ""  # the name of that list
    keeps_orphans: bool = False  # an object without a parent can still be retrieved
    hides: tuple[str, ...] = ()  # fields that appear only if they are expanded
    hidden: Callable[[Json], Json] = lambda obj: {}  # what every object has of them
    groups: tuple[str, ...] = ()  # list parameters that choose objects which do not say so themselves

    @property
    def path(self) -> str:
        return f"/v1/{self.plural}"

    @property
    def parent_path(self) -> str:
        """The pattern of its list under a customer."""
        return f"/v1/customers/:id/{self.under}"

    @property
    def words(self) -> str:
        return self.object_name

    @property
    def object_name(self) -> str:
        """Stripe's `object` value."""
        return self.object or self.name

    def facets_of(self, obj: Json) -> tuple[Facet, ...]:
        return tuple(read(obj) for read in self.facets.values())
