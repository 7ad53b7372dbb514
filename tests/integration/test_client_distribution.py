"""The distribution `tale-client`: its wheel, installed into an empty environment."""

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

from servicekit.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLAY = PYPROJECT["project"]["optional-dependencies"]["play"]
INSTALLATION = re.findall(r"^pip .*$", (ROOT / "docs" / "client.md").read_text(), re.MULTILINE)
TOP_LEVEL = {"tale", "tale_client"}


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with the client alone; its dependencies are those of the environment of the tests."""

    wheel: Path
    bin: Path
    site: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        program = [str(self.bin / command[0]), *command[1:]]
        return subprocess.run(program, cwd=self.site.parent, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("client")
    build, install, play = (line.replace("dist", str(folder)) for line in INSTALLATION)
    offline = "--quiet --no-index"
    build = build.replace("pip wheel", f"{sys.executable} -m pip wheel {offline} --no-build-isolation")
    subprocess.run(["bash", "-c", build], cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    install = install.replace("pip", f"{sys.executable} -m pip --python {python}", 1) + f" {offline} --no-deps"
    subprocess.run(["bash", "-c", install], cwd=ROOT, check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    # Adds the dependencies. The editable project of the tests stays out: its own .pth file is not read from here.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # With the library that plays there, which needs no second look at an index for the client itself.
    play = play.replace("pip", f"{sys.executable} -m pip --python {python}", 1) + f" {offline}"
    subprocess.run(["bash", "-c", play], cwd=ROOT, check=True)
    return Installed(wheel, environment / "bin", site)


def test_wheel_installs_the_client_and_the_stubs_alone(installed: Installed) -> None:
    """No service, no servicekit and no tale_cluster becomes a top-level name of a caller."""
    with ZipFile(installed.wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    assert {*TOP_LEVEL, f"tale_client-{VERSION}.dist-info"} == names


def test_wheel_carries_types_contracts_and_licences(installed: Installed) -> None:
    """Callers check types against the stubs, and have the .proto files."""
    with ZipFile(installed.wheel) as archive:
        names = set(archive.namelist())
    wanted = {"tale_client/py.typed", "tale/py.typed", "tale/story/v1/story.proto", "tale/story/v1/story_pb2.pyi"}
    assert wanted <= names
    info = f"tale_client-{VERSION}.dist-info/licenses"
    assert {f"{info}/LICENSE", f"{info}/NOTICE"} <= names


def test_client_is_imported_from_its_own_distribution(installed: Installed) -> None:
    """It needs nothing but its dependencies."""
    program = (
        "import tale_client, tale.gateway.v1.gateway_pb2 as stub; tale_client.AsyncTaleClient; tale_client.TaleClient;"
        "print(tale_client.__file__, stub.__file__)"
    )
    result = installed.run("python", "-c", program)
    assert "" == result.stderr
    expected = [installed.site / "tale_client/__init__.py", installed.site / "tale/gateway/v1/gateway_pb2.py"]
    assert [str(place) for place in expected] == result.stdout.split()


def test_command_works_without_the_cluster(installed: Installed) -> None:
    """Help and version need nothing else."""
    assert f"tale, version {VERSION}\n" == installed.run("tale", "--version").stdout
    result = installed.run("tale", "--help")
    assert "" == result.stderr
    assert "Commands:" in result.stdout


@pytest.mark.parametrize("arguments", [("up",), ("demo", "--name", "Mia")])
def test_command_that_needs_the_cluster_says_how_to_get_it(installed: Installed, arguments: tuple[str, ...]) -> None:
    """One line and exit code 1, whatever the options are."""
    result = installed.run("tale", *arguments)
    assert 1 == result.returncode
    assert "" == result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: `tale {arguments[0]}` starts the services, which are not installed")
    assert "`make setup`" in line


def test_stubs_take_the_rules_of_protovalidate_1_where_it_is_installed(installed: Installed, tmp_path: Path) -> None:
    """A process can load one version of validate.proto: two would clash."""
    folder = tmp_path / "buf" / "validate"
    folder.mkdir(parents=True)
    shutil.copy(installed.site / "tale" / "buf" / "validate_pb2.py", folder)
    code = "from tale.gateway.v1 import gateway_pb2; from tale.buf import validate_pb2; print(validate_pb2.__name__)"
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    assert "tale.buf.validate_pb2" == installed.run("python", "-c", code).stdout.strip()
    assert "buf.validate.validate_pb2" == installed.run("python", "-c", path + code).stdout.strip()


def test_metadata_names_the_dependencies_of_the_project(installed: Installed) -> None:
    """The extra `play`, and no dependency group."""
    metadata = Distribution.at(installed.site / f"tale_client-{VERSION}.dist-info").metadata
    extra = [f"{each}; extra == 'play'" for each in PLAY]
    assert sorted([*PYPROJECT["project"]["dependencies"], *extra]) == sorted(metadata.get_all("Requires-Dist") or [])
    assert ["play"] == metadata.get_all("Provides-Extra")


def test_everything_that_the_client_imports_is_a_dependency() -> None:
    """By the names under which the environment of the tests has it."""
    found = packages_distributions()
    named = {_name(requirement) for requirement in (*PYPROJECT["project"]["dependencies"], *PLAY)}
    missing = {
        name
        for name in _imported()
        # `buf` is imported only where the caller has protovalidate 1.
        if name not in sys.stdlib_module_names | TOP_LEVEL | {"buf"}
        and not named & {_name(each) for each in found[name]}
    }
    assert set() == missing


def test_dependencies_of_the_stubs_are_those_of_the_client() -> None:
    """The group `stubs` repeats some of them for the services, at the same versions."""
    assert set(PYPROJECT["dependency-groups"]["stubs"]) <= set(PYPROJECT["project"]["dependencies"])


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def _imported() -> Iterator[str]:
    for folder in (ROOT / "tale_client", ROOT / "protos"):
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(), str(path))):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module.partition(".")[0]
