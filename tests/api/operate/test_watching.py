"""What docs/ gives to Prometheus and Grafana asks for metrics that there are, by labels that they have."""

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scripts.run_procfile import ROOT

_DOCS = ROOT / "docs"
_NAME = re.compile(r"\b(billstack_[a-z_]+)(\{[^}]*\})?")
_MATCHER = re.compile(r'([a-z_]+)(=~|=)"([^"]*)"')


def from_alerts() -> list[str]:
    return re.findall(r"^ *expr: (?:>-\n)?((?:.+\n)(?: {10}.+\n)*)", (_DOCS / "alerts.yaml").read_text(), re.MULTILINE)


def from_dashboard() -> list[str]:
    panels = json.loads((_DOCS / "grafana.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def from_operations() -> list[str]:
    section = (_DOCS / "operations.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    return re.findall(r"`(billstack_[^`]*)`", section)


@pytest.mark.parametrize(
    ("source", "fewest"),
    [(from_alerts, 8), (from_dashboard, 17), (from_operations, 9)],
    ids=["alerts", "dashboard", "operations"],
)
def test_each_metric_that_is_named_is_there(client, source, fewest):
    text = client.get("/metrics").get_data(as_text=True)
    typed = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    expressions = source()

    assert len(expressions) >= fewest
    for expression in expressions:
        named = _NAME.findall(expression)
        assert named, expression
        for name, labels in named:
            family = re.sub("_(bucket|sum|count)$", "", name)
            assert name in typed or typed.get(family) == "histogram", f"{name}, in {expression}"
            values = [sample.labels for sample in samples if sample.name == name]
            # A counter has no sample before something was counted.
            assert not values or any(fits(each, labels) for each in values), f"nothing of {name} has {labels}"


def fits(sample: dict[str, str], labels: str) -> bool:
    return all(
        re.fullmatch(value, sample.get(name, "")) if operator == "=~" else sample.get(name) == value
        for name, operator, value in _MATCHER.findall(labels)
    )


def test_a_name_or_a_label_that_is_not_there_would_be_found():
    assert not fits({"state": "dead"}, '{state="daed"}')
    assert not fits({"state": "dead"}, '{sate="dead"}')
    assert fits({"queue": "events", "state": "waiting"}, '{queue=~"backfills|events", state="waiting"}')


def test_each_panel_has_a_title_and_a_place_of_its_own():
    panels = json.loads((_DOCS / "grafana.json").read_text())["panels"]

    assert len({panel["title"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len({panel["id"] for panel in panels}) == len(panels)
