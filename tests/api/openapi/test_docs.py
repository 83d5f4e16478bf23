"""The OpenAPI document is whole, and the page shows all of it."""

import json
import re
import shlex

import pytest

from api.openapi.page import operations

UNSAFE = {"post", "put", "patch", "delete"}


@pytest.fixture
def spec(client):
    answer = client.get("/api/openapi.json")
    assert answer.content_type == "application/json"
    return answer.json


def test_it_says_which_openapi_it_is(spec):
    assert re.fullmatch(r"3\.0\.\d", spec["openapi"])
    assert spec["info"]["title"] == "BillStack"
    assert spec["info"]["version"]


def test_it_covers_every_route_of_ours(app, spec):
    documented = {(path, method) for path, method, _ in _operations(spec)}
    foreign = ("rq_dashboard.", "static", "docs", "openapi", "dashboard.")

    for rule in app.url_map.iter_rules():
        if not rule.endpoint.startswith(foreign):
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            for method in rule.methods - {"HEAD", "OPTIONS"}:
                assert (path, method.lower()) in documented, rule


def test_every_operation_is_described(spec):
    for path, method, operation in _operations(spec):
        assert operation["summary"], (method, path)
        assert operation["tags"], (method, path)
        assert all(answer.get("description") or "$ref" in answer for answer in operation["responses"].values())


def test_every_reference_leads_somewhere(spec):
    for reference in _references(spec):
        target = spec
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def test_every_parameter_of_a_path_is_declared(spec):
    for path, item in spec["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                declared = [*item.get("parameters", []), *operation.get("parameters", [])]
                in_path = {parameter["name"] for parameter in declared if parameter["in"] == "path"}
                assert in_path == set(re.findall(r"{(\w+)}", path))


def test_every_operation_documents_its_success_and_its_errors(spec):
    for path, method, operation in _operations(spec):
        assert any(status.startswith("2") for status in operation["responses"]), (method, path)
        assert "default" in operation["responses"]


def test_errors_have_the_shape_of_the_contract(spec):
    error = spec["components"]["schemas"]["ErrorAnswer"]

    assert set(error["properties"]) == {"error", "code", "details"}
    assert set(error["required"]) == {"error", "code"}


def test_bodies_name_what_is_allowed(spec):
    schema = spec["components"]["schemas"]["StartBackfill"]

    assert schema["additionalProperties"] is False
    assert schema["properties"]["objects"]["items"]["enum"][0] == "customer"
    assert schema["properties"]["createdAfter"]["format"] == "date-time"


def test_it_says_which_operations_need_a_session(spec):
    by_path = {(path, method): operation["security"] for path, method, operation in _operations(spec)}

    assert by_path["/api/auth/sign-in", "post"] == []
    assert by_path["/api/auth/session", "get"] == [{"session": []}]
    assert spec["components"]["securitySchemes"]["session"] == {
        "type": "apiKey",
        "in": "cookie",
        "name": "billstack_session",
    }


def test_the_page_shows_every_operation(client, spec):
    page = client.get("/api/docs")

    assert page.status_code == 200
    assert page.content_type.startswith("text/html")
    for path, method, operation in _operations(spec):
        assert f"{method.upper()}</span> <code>{path}</code>" in page.text
        assert operation["summary"].replace("'", "&#39;") in page.text


def test_the_page_shows_no_markup_of_the_source_and_no_names_of_modules(client, spec):
    page = client.get("/api/docs").text

    assert "`" not in re.sub("<pre.*?</pre>", "", page, flags=re.DOTALL)
    assert "<code>metadata.project_id</code>" in page
    titles = [tag["name"] for tag in spec["tags"]]
    assert len(titles) == len(set(titles))
    assert {name for _, _, operation in _operations(spec) for name in operation["tags"]} == set(titles)
    assert not any("_" in title or title[0].islower() for title in titles)


def test_every_operation_has_an_example(spec):
    for operation in operations(spec):
        assert operation.command.startswith("curl ")
        assert "{" not in operation.command.split(" -d ")[0], operation.command
        for answer in operation.answers:
            if answer.rows:
                assert set(json.loads(answer.example)) == {row.name for row in answer.rows if "." not in row.name}
        if operation.body:
            sent = json.loads(shlex.split(operation.command)[-1])
            assert set(sent) == {row.name for row in operation.body if "." not in row.name}


def test_an_operation_is_a_line_until_it_is_opened(client, spec):
    page = client.get("/api/docs").text

    assert page.count("<details>") == page.count("<summary>") == len(list(_operations(spec)))


def test_the_page_spells_out_nested_answers(spec):
    (session,) = [each for each in operations(spec) if each.path == "/api/auth/session"]

    (answer,) = [answer for answer in session.answers if answer.status == "200"]
    assert [row.name for row in answer.rows] == [
        "user",
        "user.id",
        "user.email",
        "user.createdAt",
        "teams",
        "teams[].id",
        "teams[].name",
        "teams[].role",
    ]


def _operations(spec):
    for path, item in spec["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def _references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    if isinstance(node, list):
        for value in node:
            yield from _references(value)
