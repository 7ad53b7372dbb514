"""`python -m tale_client` is the `tale` command."""

from tale_client.cli import main

main()
