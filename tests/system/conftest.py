"""One project for all of `make test-system`, and the figures of its run."""

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from support.compose import Compose, compose

from standins.processes import MODULES

FIGURES = pytest.StashKey[list[str]]()


@pytest_asyncio.fixture(scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> AsyncIterator[Compose]:
    """The project, its images built; each module begins with `house.fresh()`."""
    async with compose(tmp_path_factory.mktemp("compose")) as it:
        figures = pytestconfig.stash.setdefault(FIGURES, [])
        for service in MODULES:
            size = int(await it.run("docker", "image", "inspect", "--format", "{{.Size}}", f"{it.project}-{service}"))
            figures.append(f"image of {service}: {size / 1e6:.0f} MB")
        began = time.monotonic()
        await it("up", "--detach", "--wait")
        figures.append(f"start to healthy, all four: {time.monotonic() - began:.1f} s")
        yield it


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says what was measured."""
    for figure in config.stash.get(FIGURES, []):
        terminalreporter.write_line(figure)
