"""The plan of the house: who may import whom, and what stands where."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("story_service", "voice_service", "storage_service", "gateway")
PACKAGES = (*SERVICES, "servicekit", "tale_client", "tale_cluster")


def imports(package: str) -> Iterator[tuple[str, str]]:
    """Every module that `package` imports, with the file that does."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [f"{node.module}.{alias.name}" for alias in node.names]
                if isinstance(node, ast.ImportFrom) and node.module
                else []
            )
            for name in names:
                yield name, str(path.relative_to(ROOT))


@pytest.mark.parametrize("package", SERVICES)
def test_a_service_imports_the_stubs_the_kit_and_itself(package: str) -> None:
    """Services meet on the wire alone."""
    others = {*PACKAGES} - {package, "servicekit"}
    assert [] == [(name, path) for name, path in imports(package) if name.split(".")[0] in others]


def test_the_kit_knows_nothing_of_stories() -> None:
    """It imports no service, and of the stubs only what every server says of itself."""
    own = [(name, path) for name, path in imports("servicekit") if name.split(".")[0] in {*PACKAGES} - {"servicekit"}]
    stubs = {name for name, _ in imports("servicekit") if name.startswith("tale.")}
    assert [] == own
    assert {"tale.common.v1.status_pb2", "tale.common.v1.status_pb2_grpc"} >= stubs


def test_the_client_imports_only_stubs() -> None:
    """Who installs it gets no service along."""
    others = {*PACKAGES} - {"tale_client"}
    assert [] == [(name, path) for name, path in imports("tale_client") if name.split(".")[0] in others]


def test_cluster_imports_the_client_and_stubs() -> None:
    """It starts the services as processes and imports none of them."""
    others = {*PACKAGES} - {"tale_client", "tale_cluster"}
    assert [] == [(name, path) for name, path in imports("tale_cluster") if name.split(".")[0] in others]


@pytest.mark.parametrize("package", SERVICES)
def test_every_service_has_the_same_floor_plan(package: str) -> None:
    """Who knows one knows all four."""
    plan = {"__main__.py", "settings.py", "bootstrap.py", "servicer.py"}
    assert plan <= {path.name for path in (ROOT / package).iterdir()}
