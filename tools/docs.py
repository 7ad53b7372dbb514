"""Generates the documents that repeat contracts, settings and reasons, or checks them.

python -m tools.docs            writes them
python -m tools.docs --check    exits with 1 when a committed document differs from what would be written
"""

import importlib
import sys
from pathlib import Path

from tools.api_page import api_page
from tools.circuit_breaker_plot import circuit_breaker_plot
from tools.configuration_page import compose_file, configuration_page, env_example
from tools.dashboards import dashboards
from tools.errors_page import errors_page
from tools.metrics_page import metrics_page

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Writes or checks, as the command line says."""
    pages = {
        "docs/api.md": api_page(),
        "docs/configuration.md": configuration_page(),
        "docs/compatibility.md": _compatibility_page(),
        "docs/errors.md": errors_page(),
        "docs/metrics.md": metrics_page(),
        "docs/circuit-breaker.svg": circuit_breaker_plot(),
        ".env.example": env_example(),
        "docker-compose.yml": compose_file(),
        **dict(dashboards()),
    }
    stale = [name for name, text in pages.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]
    if "--check" in sys.argv[1:]:
        if stale:
            raise SystemExit(f"documents differ from what they are generated from, run `make docs`: {', '.join(stale)}")
        return
    for name in stale:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(pages[name])


def _compatibility_page() -> str:
    # Its rows are runs of the tests, which are no package of the project.
    sys.path.append(str(ROOT / "tests"))
    page: str = importlib.import_module("compatibility.page").compatibility_page()
    return page


if __name__ == "__main__":
    main()
