"""Dashboards and alerts ask for what there is, and every alert says what to do."""

import json
import re

import pytest
from support.promql import FOLDER, ROOT, named, names, queries, rules

ALERTS = [rule for rule in rules() if "alert" in rule]
METRICS = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))


def test_names_are_found_in_queries() -> None:
    """Not functions, labels, strings, windows or words of the language."""
    query = 'sum by (a, b) (rate(x_bucket{c="y z"}[5m])) / on (d) min(e:f) offset 15m > 0.5 and g unless h'
    assert {"x_bucket", "e:f", "g", "h"} == names(query)


def test_every_query_names_metrics_of_the_reference() -> None:
    """docs/metrics.md is generated from the services; `process_*` are the client library's."""
    assert 80 < len(list(queries()))
    assert set() == {name for name in named() if not name.startswith("process_")} - METRICS


def test_every_section_of_the_reference_that_operators_need_is_shown() -> None:
    """A metric of stories that stands in no dashboard and no alert would be for nothing."""
    assert set() == {name for name in METRICS if name.startswith(("tale_", "storage_"))} - named()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alert_names_a_section_that_exists(rule: dict[str, dict[str, str]]) -> None:
    """Under the name of the alert, with something to do in it."""
    headings = re.findall(r"(?ms)^### (\w+)\n\n(.{80})", (ROOT / "docs" / "operations.md").read_text())
    sections = {f"docs/operations.md#{heading.lower()}": text for heading, text in headings}

    assert rule["annotations"]["runbook"] in sections
    assert rule["annotations"]["runbook"].endswith(f"#{str(rule['alert']).lower()}")
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_every_section_is_of_an_alert() -> None:
    """None is left over."""
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in ALERTS)


def test_dashboards_use_the_data_source_that_is_provisioned() -> None:
    """And have ids of their own, by which a link finds them."""
    boards = [json.loads(path.read_text()) for path in (FOLDER / "grafana" / "dashboards").glob("*.json")]
    sources = (FOLDER / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    used = {panel["datasource"]["uid"] for board in boards for panel in board["panels"] if panel["type"] != "row"}

    assert {"prometheus"} == used
    assert "uid: prometheus" in sources
    assert 3 == len({board["uid"] for board in boards})
