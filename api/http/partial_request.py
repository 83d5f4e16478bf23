"""Tells when a request has come whole, from its bytes."""

import re

from api.app import MAX_BODY_BYTES

# gunicorn refuses larger heads anyway: its limits are 4,094 for the line and 8,190 for each of 100 headers.
_MOST_HEAD_BYTES = 64 * 1024
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}[ \t]*(;[^\r\n]*)?\r\n")


class PartialRequest:
    """The bytes of one request so far."""

    def __init__(self, ends_at: float, data: bytes = b"") -> None:
        self.ends_at = ends_at
        self.data = bytearray(data)

    def is_whole(self) -> bool:
        """True also once gunicorn or the application will refuse the request without reading more."""
        end = self.data.find(_HEAD_END)
        if end < 0:
            return len(self.data) > _MOST_HEAD_BYTES
        head, body = bytes(self.data[: end + 2]), len(self.data) - end - len(_HEAD_END)
        if body > MAX_BODY_BYTES:
            return True
        if _CHUNKED.search(head):
            return self._has_all_chunks(end + len(_HEAD_END))
        if b"100-continue" in head.lower():
            return True  # the client waits for gunicorn's "100 Continue"
        length = _LENGTH.search(head)
        return length is None or body >= int(length[1]) or int(length[1]) > MAX_BODY_BYTES

    def _has_all_chunks(self, at: int) -> bool:
        """Follows the chunk sizes. Anything that is no chunk counts as the end: gunicorn refuses it."""
        while self.data.find(b"\r\n", at) >= 0:
            size = _CHUNK_SIZE.match(self.data, at)
            if size is None:
                return True
            length = int(size[0].split(b";")[0], 16)
            if length == 0:
                return self.data.find(_HEAD_END, size.end() - 2) >= 0
            at = size.end() + length + 2
        return len(self.data) > at + _MOST_HEAD_BYTES
