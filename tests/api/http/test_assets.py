"""Static files are kept for good under the name of their content, and texts are sent gzipped."""

import gzip
import re

import pytest
import urllib3

from api.http.script_bundle import bundle
from tests.api.gateway.mirror_filling import serving

ZIPPED = {"Accept-Encoding": "gzip, br"}


@pytest.fixture
def addresses(client, owner):
    """What a page of the dashboard loads."""
    page = owner.client.get(f"/teams/{owner.team_id}/stripe").text
    return set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))


def test_a_page_asks_for_no_more_than_four_files(addresses):
    assert len(addresses) <= 4


def test_files_are_kept_for_good(client, addresses):
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert re.fullmatch(r"/static/[0-9a-f]{16}/[\w/.]+", address)


def test_an_older_page_gets_todays_file_and_does_not_keep_it(client, addresses):
    for address in addresses:
        old = re.sub("[0-9a-f]{16}", "0" * 16, address)
        assert client.get(old).data == client.get(address).data
        assert client.get(old).headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("name", ["nothing.js", "dashboard/../docs.css", "../app.py", "dashboard%2Fapp.js%00"])
def test_what_is_no_file_of_ours_is_404(client, name):
    assert client.get(f"/static/0/{name}").status_code in (404, 308)


def test_all_texts_are_gzipped_for_who_takes_it(client, owner, addresses):
    pages = [f"/teams/{owner.team_id}/stripe", "/api/docs", "/api/openapi.json"]
    for address in (*addresses, *pages):
        plain, zipped = owner.client.get(address), owner.client.get(address, headers=ZIPPED)
        assert "Content-Encoding" not in plain.headers
        assert zipped.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in plain.headers["Vary"]
        assert len(zipped.data) == int(zipped.headers["Content-Length"]) < len(plain.data)
        assert gzip.decompress(zipped.data) == plain.data


@pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "br"])
def test_nobody_else_gets_gzip(client, accepted):
    assert "Content-Encoding" not in client.get("/api/docs", headers={"Accept-Encoding": accepted}).headers


def test_short_answers_and_errors_stay_as_they_are(client):
    for address in ("/healthz", "/nothing"):
        assert "Content-Encoding" not in client.get(address, headers=ZIPPED).headers


def test_a_stream_is_not_held_back(app, owner):
    with serving(app) as address:
        cookie = owner.client.get_cookie("billstack_session")
        headers = {**ZIPPED, "Cookie": f"billstack_session={cookie.value}"}
        answer = urllib3.request(
            "GET", f"{address}{owner.stripe}/status/stream", headers=headers, preload_content=False
        )
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert "Content-Encoding" not in answer.headers
        answer.close()


def test_modules_become_one_script(tmp_path):
    (tmp_path / "app.js").write_text('import { b } from "./b.js";\nimport { c, d } from "./c.js";\nuse(b, c, d);\n')
    (tmp_path / "b.js").write_text('import { c } from "./c.js";\nexport const b = c;\nconst same = 1;\n')
    (tmp_path / "c.js").write_text("export function c() {}\nexport class d {}\nconst same = 2;\n")

    script = bundle(tmp_path / "app.js")

    assert script.count("=> {\n") == 3
    assert not re.search(r"^(import|export)", script, re.MULTILINE)
    assert script.index("module_c") < script.index("module_b") < script.index("module_app")
    assert "return { c, d };" in script


@pytest.mark.parametrize("line", ['import x from "./b.js";', 'import "./b.js";', "export default 1;", "export { x };"])
def test_a_module_that_the_bundle_does_not_understand_is_refused(tmp_path, line):
    (tmp_path / "app.js").write_text(f"{line}\n")

    with pytest.raises(ValueError, match=r"app\.js"):
        bundle(tmp_path / "app.js")


def test_a_circle_of_modules_is_refused(tmp_path):
    (tmp_path / "app.js").write_text('import { b } from "./b.js";\n')
    (tmp_path / "b.js").write_text('import { a } from "./app.js";\n')

    with pytest.raises(ValueError, match="imports itself"):
        bundle(tmp_path / "app.js")


def test_a_form_that_is_sent_without_script_is_answered_with_a_page(client):
    answer = client.post("/sign-in", data={"email": "a@example.com"}, headers={"Accept": "text/html"})

    assert answer.mimetype == "text/html"
    assert "<h1>" in answer.text
