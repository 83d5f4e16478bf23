"""What one object type is read in: a window is a half-open range of `created`, read newest first with a cursor of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field

# How much denser than a window itself its unread rest may be taken for, because of what its older neighbour met.
MOST_DENSER = 4


@dataclass(slots=True, eq=False)
class Window:
    """A row of billstack.windows (see there), and below it what the plan thinks of it."""

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

    # Never stored.
    in_flight: bool = False
    in_burst: bool = False  # its last page was full of a single second
    entry_density: float | None = None  # objects/s from its upper end on, the gap before the first one included
    expected_density: float | None = None  # what the giver made of this range; used until the first page
    older: "Window | None" = field(default=None, repr=False)  # the window that goes on below the floor

    @property
    def density(self) -> float:
        """Objects per second over all that was met: the last page's alone would explode inside bursts."""
        if self.newest is None or self.oldest is None:
            return 0.0
        return max(1, self.met - 1) / max(1, self.newest - self.oldest)

    @property
    def reached(self) -> int:
        """The second down to which it is read."""
        return self.lt if self.oldest is None else self.oldest

    @property
    def density_below(self) -> float | None:
        """What the older neighbour met right below the floor; None before its first answer."""
        if self.older is None or self.older.entry_density is None:
            return None
        return min(self.older.entry_density, MOST_DENSER * self.density)


@dataclass(frozen=True, slots=True)
class PageFacts:
    """`created` of a page's objects in Stripe's order, newest first; where the next page would start."""

    created: Sequence[int]
    has_more: bool
    last_id: str | None

    def __post_init__(self) -> None:
        if self.has_more and self.last_id is None:
            raise ValueError("a page without objects says that more follow: there is no cursor to read them with")


@dataclass(frozen=True, slots=True)
class Split:
    """The new window `number` takes [floor, mid) over: its gte and floor, and its lt. The giver's floor becomes mid."""

    giver: int
    number: int
    variant: int
    floor: int
    mid: int
    expected_density: float


@dataclass(frozen=True, slots=True)
class Reopening:
    """The window's new filter; its cursor becomes NULL, its floor stays."""

    number: int
    gte: int
    lt: int


def entry_density(window: Window, first_page: PageFacts) -> float:
    if not first_page.created:
        return 0.0
    end = first_page.created[-1] if first_page.has_more else window.gte
    return len(first_page.created) / max(1, window.lt - end)
