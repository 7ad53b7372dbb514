"""Runs the `tale` command: `python -m tale_client`."""

from tale_client.cli import main

main()
