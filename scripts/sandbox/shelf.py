"""All objects of one type: by id, by age, and by values that lists often filter by."""

from collections.abc import Iterator

from scripts.sandbox.answers import encode
from scripts.sandbox.rows import Kind
from scripts.sandbox.shapes import Json
from scripts.sandbox.subscription_shapes import EMBEDDED_CHILDREN
from scripts.sandbox.timeline import Record, Timeline, key_of

_EMPTY = Timeline()


class Shelf:
    """Adds, replaces and removes objects of one type. Unlisted ones can be retrieved but are in no list."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.by_id: dict[str, Record] = {}
        self.timeline = Timeline()
        self.deleted: dict[str, int] = {}
        self._serial = 0
        self._facet_names = tuple(kind.facets)
        self._index: dict[tuple[str, str], Timeline] = {}
        self.group_of: dict[tuple[str, str], str] = {}  # by parameter and id

    def get(self, id: str) -> Record | None:
        return self.by_id.get(id)

    def indexed(self, facet: str, value: str) -> Timeline:
        return self._index.get((facet, value), _EMPTY)

    def group(self, param: str, value: str, id: str) -> None:
        """Enters an object into the list that this value of the parameter chooses."""
        self._index.setdefault((param, value), Timeline()).add(self.by_id[id])
        self.group_of[param, id] = value

    def is_orphan(self, record: Record) -> bool:
        """Whether it is listed under a customer only, and has none any more."""
        return bool(self.kind.parent) and record.facets[self.facet_at(self.kind.parent)] is None

    def facet_at(self, facet: str) -> int:
        return self._facet_names.index(facet)

    def put(self, obj: Json, children: list[Json] | None = None, *, listed: bool = True) -> Record:
        """Adds a new object, or replaces the one with that id in place. `created` never changes.

        An object that is replaced keeps its hidden fields unless it comes with others.
        """
        own = {name: obj[name] for name in self.kind.hides if name in obj}
        hidden = encode(own) if own else b""
        body = encode({name: value for name, value in obj.items() if name not in own} if own else obj)
        facets = self.kind.facets_of(obj)
        is_cut = children is not None and (self.kind.hides_children or len(children) > EMBEDDED_CHILDREN)
        cut = tuple(encode(child) for child in children or ()) if is_cut else ()
        self.deleted.pop(obj["id"], None)
        known = self.by_id.get(obj["id"])
        if known is None:
            self._serial += 1
            record = Record(
                obj["id"],
                key_of(obj[self.kind.created] if self.kind.created else 0, self._serial),
                body,
                facets,
                cut,
                hidden,
            )
            self.by_id[record.id] = record
            if listed:
                self.timeline.add(record)
                self._enter(record)
            return record
        if children is not None:
            known.children = cut
        known.body = body
        known.hidden = hidden or known.hidden
        if facets != known.facets:
            self._leave(known)
            known.facets = facets
            self._enter(known)
        return known

    def delete(self, id: str, at: int) -> Record:
        record = self.by_id.pop(id)
        self.timeline.remove(record)
        self._leave(record)
        self.deleted[id] = at
        return record

    def _keys(self, record: Record) -> Iterator[tuple[str, str]]:
        for facet in self.kind.indexed:
            value = record.facets[self.facet_at(facet)]
            if isinstance(value, str):
                yield facet, value

    def _enter(self, record: Record) -> None:
        for key in self._keys(record):
            if key not in self._index:
                self._index[key] = Timeline()
            self._index[key].add(record)

    def _leave(self, record: Record) -> None:
        for key in self._keys(record):
            self._index[key].remove(record)
