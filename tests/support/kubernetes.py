"""The manifests in deploy/kubernetes."""

from pathlib import Path
from typing import Any

import yaml

BASE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base"


def resources(name: str) -> dict[str, Any]:
    """The resources of a service, by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all((BASE / f"{name}.yaml").read_text())}


def pod(name: str) -> dict[str, Any]:
    """What a service runs as."""
    found = resources(name)
    workload = found.get("Deployment") or found["StatefulSet"]
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def environment(name: str) -> dict[str, Any]:
    """The variables of a service's container: its own, over those of the ConfigMap of the base that it names."""
    (container,) = pod(name)["containers"]
    named = {each["configMapRef"]["name"] for each in container["envFrom"]}
    defaults = resources(name).get("ConfigMap", {"metadata": {"name": ""}, "data": {}})
    given = defaults["data"] if defaults["metadata"]["name"] in named else {}
    return {key: {"name": key, "value": value} for key, value in given.items()} | {
        each["name"]: each for each in container["env"]
    }
