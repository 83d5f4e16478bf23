"""Declares an endpoint in one place: address, access, input and output. OpenAPI is built from these declarations."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import flask_smorest  # type: ignore[import-untyped]
import marshmallow

from api.http.access import OF_KEYS, Access, allow
from api.http.parsing import Parser
from api.projects.key_store import Scope

_View = TypeVar("_View", bound=Callable[..., Any])
# An answer's schema, or a short description if it has no body.
Answer = type[marshmallow.Schema] | str


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # flask-smorest has no type hints
    ARGUMENTS_PARSER = Parser()

    def endpoint(
        self,
        method: str,
        path: str,
        access: Access,
        *,
        scope: Scope | None = None,
        body: type[marshmallow.Schema] | None = None,
        query: type[marshmallow.Schema] | None = None,
        answers: Mapping[int, Answer],
    ) -> Callable[[_View], _View]:
        """The view gets the checked input as `body` and `query`. The caller is checked before the input."""

        def declare(view: _View) -> _View:
            decorated: Any = self.doc(**_access_doc(access, scope))(allow(access, scope)(view))
            for status, answer in answers.items():
                decorated = self.alt_response(status, **_answer_doc(answer))(decorated)
            if body:
                decorated = self.arguments(body, required=False, arg_name="body")(decorated)
            if query:
                decorated = self.arguments(query, location="query", arg_name="query")(decorated)
            self.route(path, methods=[method])(decorated)
            return view

        return declare


def _access_doc(access: Access, scope: Scope | None) -> dict[str, Any]:
    if access is Access.ANYONE:
        return {"security": []}
    if access in OF_KEYS:
        return {"security": [{"session": []}, {"apiKey": []}], "x-access": f"{access.value}, with the scope {scope}"}
    return {"security": [{"session": []}], "x-access": access.value}


def _answer_doc(answer: Answer) -> dict[str, Any]:
    return {"description": answer} if isinstance(answer, str) else {"schema": answer}
