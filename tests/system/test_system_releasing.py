"""docs/releasing.md: packages and SBOMs by its commands."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from servicekit.version import VERSION

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("pyproject.toml", "Makefile", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands of the page make, in a copy of the files that they read."""
    folder = tmp_path_factory.mktemp("release")
    for name in PARTS:
        shutil.copy(ROOT / name, folder)
    for name in ("requirements", "protos", "tale_client", "servicekit", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    (folder / ".venv").symlink_to(sys.prefix)
    (block,) = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "releasing.md").read_text(), re.MULTILINE | re.DOTALL)
    # The environment of the tests is set up already, and not to be set up again from the copy.
    for command in block.splitlines():
        arguments = [*command.split(), "--assume-old=setup"]
        subprocess.run(arguments, cwd=folder, check=True, capture_output=True, timeout=100)
    return folder / "dist"


def test_the_packages_have_the_version(dist: Path) -> None:
    """Wheel and sdist."""
    made = {each.name for each in dist.iterdir() if each.is_file()}
    assert {f"tale_client-{VERSION}-py3-none-any.whl", f"tale_client-{VERSION}.tar.gz"} == made


@pytest.mark.parametrize("name", ["client", "gateway", "story", "voice", "storage"])
def test_an_sbom_lists_what_the_lock_pins(dist: Path, name: str) -> None:
    """Each package with its version, and no time or random number: the same locks give the same bytes."""
    listed = json.loads((dist / "sbom" / f"{name}.cdx.json").read_text())
    pins = re.findall(r"^([\w.-]+)==([^ ;\\]+)", (ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE)
    assert set(pins) <= {(each["name"], each["version"]) for each in listed["components"]}
    assert "CycloneDX" == listed["bomFormat"]
    assert "timestamp" not in listed["metadata"]
    assert "serialNumber" not in listed
