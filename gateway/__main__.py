"""Runs the gateway: `python -m gateway`."""

from gateway.bootstrap import build
from gateway.settings import GatewaySettings
from servicekit.main import run
from servicekit.settings import load


def main() -> None:
    """Runs the gateway until it is stopped."""
    run(lambda: load(GatewaySettings), build, "gateway")


if __name__ == "__main__":
    main()
