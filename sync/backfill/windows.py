"""Windows: half-open ranges of `created`, each read newest first with its own cursor."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sync.object_types import UNDATED, ObjectType
from sync.stripe.lists import END_OF_CREATED

# How much denser than the window itself its unread rest may be assumed to be, based on its older neighbour.
MOST_DENSER = 4


@dataclass(slots=True, eq=False)
class Window:
    """A row of billstack.windows (described there), followed by the plan's own fields."""

    number: int
    variant: int
    gte: int
    lt: int
    floor: int
    cursor: str | None = None
    newest: int | None = None
    oldest: int | None = None
    pages: int = 0
    met: int = 0
    done: bool = False

    # The fields below are never stored.
    in_flight: bool = False
    in_burst: bool = False  # its last page was full of a single second
    entry_density: float | None = None  # objects/s from its upper end on, including the gap before the first one
    expected_density: float | None = None  # the giving window's estimate for this range; used until the first page
    older: "Window | None" = field(default=None, repr=False)  # the window that continues below the floor

    @property
    def density(self) -> float:
        """Objects per second over everything met. The last page's density alone would explode inside bursts."""
        if self.newest is None or self.oldest is None:
            return 0.0
        return max(1, self.met - 1) / max(1, self.newest - self.oldest)

    @property
    def is_backwards(self) -> bool:
        """Its list is not newest first, as Stripe's are."""
        return self.newest is not None and self.oldest is not None and self.newest < self.oldest

    @property
    def reached(self) -> int:
        """The second down to which it is read."""
        return self.lt if self.oldest is None else self.oldest

    @property
    def density_below(self) -> float | None:
        """The older neighbour's density right below the floor. None before its first answer."""
        if self.older is None or self.older.entry_density is None:
            return None
        return min(self.older.entry_density, MOST_DENSER * self.density)


def first_window(object_type: ObjectType, variant: int, *, gte: int, lt: int) -> Window:
    """The whole of a variant. A list without `created` is one second, and a second is never split.

    What is read parent by parent has no time either; each parent has a place of its own.
    """
    if not object_type.is_by_time:
        gte, lt = UNDATED, END_OF_CREATED if object_type.parent else UNDATED + 1
    return Window(variant + 1, variant, gte=gte, lt=lt, floor=gte)


@dataclass(frozen=True, slots=True)
class PageOutline:
    """`created` of a page's objects in Stripe's order, newest first, and where the next page would start."""

    created: Sequence[int]
    has_more: bool
    last_id: str | None

    def __post_init__(self) -> None:
        if self.has_more and self.last_id is None:
            raise ValueError("a page without objects says that more follow, but gives no cursor to read them")


@dataclass(frozen=True, slots=True)
class Split:
    """The new window `number` gets [floor, mid), which become its gte, floor and lt.

    The giving window's floor becomes mid.
    """

    giver: int
    number: int
    variant: int
    floor: int
    mid: int
    expected_density: float


@dataclass(frozen=True, slots=True)
class Reopening:
    """The window's new filter. Its cursor becomes NULL; its floor stays."""

    number: int
    gte: int
    lt: int


def entry_density(window: Window, first_page: PageOutline) -> float:
    if not first_page.created:
        return 0.0
    end = first_page.created[-1] if first_page.has_more else window.gte
    return len(first_page.created) / max(1, window.lt - end)
