"""Half of a surrogate pair becomes a NUL, and nothing else changes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.json_text import repair_surrogates


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb'"\ud800"', "\0"),
        (rb'"a\uDC00b"', "a\0b"),
        (rb'"\ud83d\ud83d\ude00"', "\0😀"),
        (rb'"\ude00\ud83d"', "\0\0"),
        (rb'"\\\ud800"', "\\\0"),
    ],
)
def test_each_half_becomes_a_nul(body: bytes, text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body)

    assert msgspec.json.decode(repair_surrogates(body)) == text


@pytest.mark.parametrize(
    "body", [rb'"\ud83d\ude00"', rb'"\\ud800"', rb'"\u00e9\"\n"', b'"no escape, \xf0\x9f\x98\x80"']
)
def test_whole_pairs_and_what_only_looks_like_a_half_stay(body: bytes) -> None:
    assert repair_surrogates(body) == body


@given(st.text(alphabet=st.sampled_from('\\u"d8c0\ud800\udfff😀é')))
def test_any_text_can_be_read_afterwards(text: str) -> None:
    body = "".join(
        rf"\u{ord(char):04x}" if 0xD800 <= ord(char) < 0xE000 else char for char in text.replace("\\", "\\\\")
    )
    body = '"' + body.replace('"', '\\"') + '"'

    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    found = msgspec.json.decode(repair_surrogates(body.encode()))

    assert found.replace("\0", "�") == whole
