"""Reads and checks bodies and queries. Any fault becomes a BadRequest that names the field and what is allowed."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, NoReturn

import flask
import marshmallow
from webargs.flaskparser import FlaskParser

from sync.errors import BadRequest, TooLarge

# Limits an error answer. No form written by hand has more fields, or longer names.
_MOST_FIELDS = 20
_LONGEST_FIELD = 100


class Parser(FlaskParser):
    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, req: flask.Request, schema: marshmallow.Schema) -> Any:
        """No body at all is `{}`. A form is refused: to ignore it would do something else than the caller asked for."""
        if read_body(req) and not req.is_json:
            raise BadRequest("send the body as JSON, with Content-Type: application/json", code="not_json")
        try:
            return super().load_json(req, schema)
        except (RecursionError, ValueError) as exc:  # nested too deeply, or a number with thousands of digits
            raise BadRequest("the body is nested too deeply or has a number that is too long", code="not_json") from exc

    def _handle_invalid_json_error(self, error: Exception, req: flask.Request, *args: Any, **kwargs: Any) -> NoReturn:
        raise BadRequest("the body is not valid JSON in UTF-8", code="not_json") from error

    def handle_error(
        self,
        error: marshmallow.ValidationError,
        req: flask.Request,
        schema: marshmallow.Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        (problems,) = error.messages_dict.values()  # its one key says where the input came from
        raise _bad_request(problems) from error


def read_body(request: flask.Request) -> bytes:
    """The whole body.

    Raises TooLarge, also if no length was announced: Werkzeug cuts such a body at the limit without an error.
    """
    body = request.get_data(cache=True)
    limit = request.max_content_length
    if request.content_length is None and limit is not None and len(body) >= limit:
        raise TooLarge("the body is too large")
    return body


def _bad_request(problems: Mapping[str, list[str]] | list[str]) -> BadRequest:
    """marshmallow gives a list instead of a mapping if the body is no JSON object."""
    if not isinstance(problems, Mapping) or "_schema" in problems:
        return BadRequest("the body must be a JSON object", code="not_json")
    shown = {_shortened(field): said for field, said in islice(problems.items(), _MOST_FIELDS)}
    sentences = [f"{field} {problem}" for field, (problem, *_) in shown.items()]
    if len(problems) > len(shown):
        sentences.append(f"and {len(problems) - len(shown)} more fields are wrong")
    return BadRequest("; ".join(sentences), code="invalid_field", details={"fields": shown})


def _shortened(field: Any) -> str:
    """The caller's name for the field, cut short so that the answer does not repeat the whole request."""
    name = str(field)
    return name if len(name) <= _LONGEST_FIELD else f"{name[:_LONGEST_FIELD]}…"
