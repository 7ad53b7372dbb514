"""The plan of the house: which package may import which, which way the wings of a service point, and no circles."""

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("story_service", "voice_service", "storage_service", "gateway")
PACKAGES = (*SERVICES, "servicekit", "offline_writer", "tale_client", "tale_cluster")

ARROWS: Mapping[str, Mapping[str, Collection[str]]] = {
    "gateway": {
        "door": {"watch", "runs", "peers"},
        "watch": {"runs", "peers"},
        "runs": {"peers"},
        "peers": (),
    },
    "voice_service": {
        "wire": {"narration", "synthesis", "providers", "transcription"},
        "narration": {"synthesis", "audio", "providers"},
        "synthesis": {"audio", "providers"},
        "transcription": {"providers"},
        "providers": {"audio"},
        "audio": (),
    },
    "story_service": {
        "wire": {"generation", "answer", "models"},
        "generation": {"answer", "prompting", "models", "providers"},
        "safety": {"generation", "answer", "prompting", "models"},
        "models": (),
        "answer": (),
        "prompting": {"answer"},
        "providers": (),
    },
    "storage_service": {
        "wire": {"stories", "audio"},
        "stories": {"audio"},
        "audio": (),
        "embedded": {"stories"},
        "supabase": {"stories"},
        "object_store": (),
        "exchange": {"audio"},
    },
}
"""The wings of each service, and those that each may import. What stands beside the wings (ports, settings, errors) may
be imported by all of them; the composition root imports everything and is imported by nothing in a wing."""

COMPOSITION = {"__main__", "app", "bootstrap", "backends", "commands"}


@cache
def modules(package: str) -> Mapping[str, Path]:
    """Every module of `package` by its dotted name."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package: str) -> Iterator[tuple[str, str]]:
    """Every name that `package` imports, with the module that does."""
    for module, path in modules(package).items():
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                yield from ((alias.name, module) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((f"{node.module}.{alias.name}", module) for alias in node.names)


def wing(name: str) -> str:
    """The wing of a module, or the module beside the wings: the second part of its dotted name."""
    return name.split(".")[1] if "." in name else "__main__"


def foreign(package: str, allowed: Collection[str]) -> list[tuple[str, str]]:
    """What `package` imports of other packages of this project beyond those that are allowed."""
    others = {*PACKAGES} - {package, *allowed}
    return [(name, module) for name, module in imports(package) if name.split(".")[0] in others]


@pytest.mark.parametrize("package", SERVICES)
def test_service_imports_stubs_kit_and_itself(package: str) -> None:
    """Services meet on the wire alone."""
    library = ["offline_writer"] if package == "story_service" else []
    assert [] == foreign(package, ["servicekit", *library])


def test_kit_knows_nothing_of_stories() -> None:
    """It imports no service, and of the stubs only what every server says of itself, and the rules of text."""
    stubs = {name for name, _ in imports("servicekit") if name.startswith("tale.")}
    assert [] == foreign("servicekit", [])
    rules = {"tale.buf.validate_pb2", "tale.common.v1.rules_pb2"}
    assert rules | {"tale.common.v1.status_pb2", "tale.common.v1.status_pb2_grpc"} >= stubs


def test_resilience_knows_no_transport() -> None:
    """Any client of any protocol can use it, so it is imported with neither HTTP, gRPC nor messages."""
    transports = ("aiohttp", "grpc", "google", "tale")
    own = [name for name, path in imports("servicekit/resilience") if name.split(".")[0] in transports]
    loaded = "import sys, servicekit.resilience.manager, servicekit.resilience.protect, servicekit.resilience.limits"
    check = f"{loaded}; sys.exit(' '.join(sorted({{name.split('.')[0] for name in sys.modules}} & {{*{transports}}})))"
    run = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)

    assert [] == own
    assert "" == run.stderr.strip()


@pytest.mark.parametrize("package", ["offline_writer", "tale_client"])
def test_library_imports_no_service(package: str) -> None:
    """A program that installs it gets no service along."""
    assert [] == foreign(package, [])


def test_offline_writer_imports_dictionaries_and_the_standard_library() -> None:
    """A program that embeds it installs nothing else."""
    used = {name.split(".")[0] for name, _ in imports("offline_writer")}
    assert {"lemminflect", "pymorphy3", "simplemma"} == used - {*sys.stdlib_module_names, "offline_writer"}


def test_cluster_imports_client_and_stubs() -> None:
    """It starts the services as processes and imports none of them."""
    assert [] == foreign("tale_cluster", ["tale_client"])


@pytest.mark.parametrize("package", SERVICES)
def test_every_folder_of_a_service_is_a_wing(package: str) -> None:
    """A new folder needs arrows of its own."""
    folders = {path.name for path in (ROOT / package).iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders == ARROWS[package].keys()


@pytest.mark.parametrize("package", SERVICES)
def test_wings_point_one_way(package: str) -> None:
    """What a wing imports of its service stands in a wing that it may use, or beside the wings."""
    arrows = ARROWS[package]
    wrong = []
    for name, module in imports(package):
        if name.split(".")[0] == package and (own := wing(module)) in arrows:
            other = wing(name)
            beyond = other in arrows and other != own and other not in arrows[own]
            if beyond or other in COMPOSITION:
                wrong.append(f"{module} -> {name}")
    assert [] == wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_import_in_no_circle(package: str) -> None:
    """Each module can be read after those that it imports."""
    graph = {module: set[str]() for module in modules(package)}
    for name, module in imports(package):
        target = name if name in graph else name.rpartition(".")[0]
        if target in graph and target != module:
            graph[module].add(target)
    while ready := [module for module, needs in graph.items() if not needs & graph.keys()]:
        for module in ready:
            del graph[module]
    assert {} == graph


@pytest.mark.parametrize("package", PACKAGES)
def test_no_error_is_raised_in_an_except_star_clause(package: str) -> None:
    """Before Python 3.11.4 it comes out in a group, which no `except` of the error catches."""
    found = [
        f"{path.relative_to(ROOT)}:{clause.lineno}"
        for path in modules(package).values()
        for tried in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(tried, ast.TryStar)
        for clause in tried.handlers
        if any(isinstance(node, ast.Raise) and node.exc for node in ast.walk(clause))
    ]
    assert [] == found
