"""Parts of a page, as the statements on pages take them."""

from collections.abc import Mapping

import msgspec


def by_id(completed: Mapping[str, bytes]) -> bytes:
    """The `completed` parameter of mirror_page and differing. null leaves an object out."""
    return msgspec.json.encode({object_id: msgspec.Raw(part or b"null") for object_id, part in completed.items()})


def page_of_one(object_id: str, raw: bytes, completed: Mapping[str, bytes]) -> tuple[bytes, dict[str, bytes]]:
    """One object of a refused page, as a page of its own.

    Returns the body and the object's part of `completed`.
    """
    own = {object_id: completed[object_id]} if object_id in completed else {}
    return b'{"data":[' + raw + b"]}", own
