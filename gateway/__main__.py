"""Runs the gateway: `python -m gateway`."""

from gateway.bootstrap import build
from gateway.settings import GatewaySettings
from servicekit.authentication import Anonymous
from servicekit.main import run
from servicekit.settings import load


def main() -> None:
    """Runs the gateway until it is stopped. Without authentication everything belongs to the owner "local"."""
    run(lambda: load(GatewaySettings), build, "gateway", authenticator=Anonymous())


if __name__ == "__main__":
    main()
