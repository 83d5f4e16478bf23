"""Objects of one type in Stripe's list order, stored as bytes, beside the values that filters use."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

# Stripe lists newest first by `created`. Its order within a second is stable but not documented.
# Here it is the order of creation, kept in the low bits of one integer that sorts quickly.
_SERIAL_BITS = 32

_key = attrgetter("key")


@dataclass(slots=True)
class Record:
    """One object. `facets` are the values that lists filter by, in the order that its kind names them."""

    id: str
    key: int
    body: bytes
    facets: tuple[str | tuple[str, ...] | None, ...] = ()
    children: tuple[bytes, ...] = ()  # the whole nested list, only where the embedded one is cut
    hidden: bytes = b""  # of the fields that appear only if they are expanded, those that are this object's own

    @property
    def created(self) -> int:
        return self.key >> _SERIAL_BITS


def key_of(created: int, serial: int) -> int:
    return created << _SERIAL_BITS | serial


Accepts = Callable[[Record], bool]


class Timeline:
    """Records sorted by age. A query costs a bisection plus its result."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records = sorted(records, key=_key)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def add(self, record: Record) -> None:
        if not self._records or self._records[-1].key < record.key:
            self._records.append(record)
        else:
            self._records.insert(self.position(record.key), record)

    def remove(self, record: Record) -> None:
        del self._records[self.position(record.key)]

    def position(self, key: int) -> int:
        return bisect_left(self._records, key, key=_key)

    def at(self, position: int) -> Record:
        return self._records[position]

    def has(self, record: Record) -> bool:
        at = self.position(record.key)
        return at < len(self._records) and self._records[at] is record

    def between(self, first_second: int | None, last_second: int | None) -> tuple[int, int]:
        """Positions of the records created in these seconds, both inclusive. None means no limit."""
        low = 0 if first_second is None else self.position(first_second << _SERIAL_BITS)
        high = len(self._records) if last_second is None else self.position((last_second + 1) << _SERIAL_BITS)
        return low, high

    def newest_first(self, low: int, high: int, limit: int, accepts: Accepts | None) -> list[Record]:
        """Up to `limit` accepted records of the positions low..high-1, beginning with the newest."""
        if accepts is None:
            return self._records[max(low, high - limit) : max(low, high)][::-1]
        return _first(limit, filter(accepts, (self._records[at] for at in range(high - 1, low - 1, -1))))

    def oldest_first(self, low: int, high: int, limit: int, accepts: Accepts | None) -> list[Record]:
        if accepts is None:
            return self._records[low : max(low, min(high, low + limit))]
        return _first(limit, filter(accepts, (self._records[at] for at in range(low, high))))


def _first(limit: int, records: Iterator[Record]) -> list[Record]:
    return [record for record, _ in zip(records, range(limit), strict=False)]
