"""The `mirror` part of GET status: the mirror itself, apart from any backfill."""

from collections.abc import Mapping
from typing import Any

from api.http.times import iso, since_1970
from sync.object_types import DEFAULT_TYPES, in_order

_DRIFT = ("missing", "stale", "notDeleted")


def mirror_shown(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By mirrored type, from a row of the statement `status`."""
    live, proofs, found = row["live_rows"] or {}, row["proofs"] or {}, row["compared_found"] or {}
    return {
        object_type.name: {
            "objects": live.get(object_type.table, 0),
            "complete": object_type.name in proofs,
            "completedAt": iso(since_1970(proofs[object_type.name]["completedAt"]))
            if object_type.name in proofs
            else None,
            "rightAsOf": iso(
                since_1970(
                    right_as_of(
                        proofs.get(object_type.name),
                        None if object_type.is_reread else row["swept_until"],
                        row["unread_until"],
                    )
                )
            ),
            "comparedAt": iso(row["compared_at"]) if object_type.name in found else None,
            "differed": drifted(found[object_type.name]) if object_type.name in found else None,
        }
        for object_type in in_order({*DEFAULT_TYPES, *row["added_types"]})
    }


def last_full_sync(mirror: Mapping[str, Mapping[str, Any]]) -> str | None:
    """When the least recently completed type was last read whole. None if one never was."""
    moments = [each["completedAt"] for each in mirror.values()]
    return min(moments) if moments and all(moments) else None


def right_as_of(proof: Mapping[str, Any] | None, swept_until: int | None, unread_until: int | None) -> int | None:
    """The second of Stripe's clock up to which a type is known completely. None if it was never read whole.

    The last full backfill or comparison proves everything up to `knownUntil`. From there on events prove it, as far as
    Stripe's event list has been read without a gap, but only up to the oldest event that is not applied.
    """
    if proof is None:
        return None
    known: int = proof["knownUntil"]
    has_gap = unread_until is not None and unread_until > known
    if swept_until is not None and not has_gap:
        known = max(known, swept_until)
    unapplied = proof["unapplied"]
    return known if unapplied is None else min(known, unapplied - 1)


def drifted(found: Mapping[str, Any]) -> int:
    """How many objects of the type the comparison had to repair."""
    return sum(found[way]["count"] for way in _DRIFT if way in found)
