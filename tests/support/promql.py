"""The queries of deploy/observability, and the metrics that they name."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "observability"
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool", "vector", "scalar"}


def rules() -> list[dict[str, Any]]:
    """Records and alerts."""
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Each query, with where it stands."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in sorted((FOLDER / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            yield from ((f"{path.name}: {panel['title']}", target["expr"]) for target in panel.get("targets", ()))


def names(query: str) -> set[str]:
    """The metrics that a query names."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", query)
    return set(re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)) - WORDS


def family(name: str) -> str:
    """The metric of a series: a histogram's without the ending."""
    return re.sub(r"_(?:bucket|sum|count)$", "", name)


def named() -> set[str]:
    """All metrics that are named, but those that rules record and that Prometheus makes."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    return {family(name) for _, query in queries() for name in names(query) - recorded - {"up", "ALERTS"}}
