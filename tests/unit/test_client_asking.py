"""Who a story is for and about, as the options of `tale tell` say it."""

import pytest
from click.testing import CliRunner

from tale_client.cli import cli


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--name NAME, or --child NAME|ID"),
        (("--name", "Mia", "--child", "Mia"), "--name NAME, or --child NAME|ID"),
        (("--child", "Mia", "--age", "6"), "`tale children update`"),
        (("--child", "Mia", "--interest", "owls"), "`tale children update`"),
        (("--name", "Mia", "--hero", "A", "--hero-name", "B"), "Take one hero"),
        (("--name", "Mia", "--hero-trait", "brave"), "--hero-name NAME"),
        (("--name", "Mia", "--kind", "combined"), "A combined story needs --hero"),
    ],
)
def test_people_that_do_not_fit_together_are_wrong_usage(options: tuple[str, ...], said: str) -> None:
    """Before anybody is asked: exit code 2, and what to say instead."""
    result = CliRunner().invoke(cli, ["tell", "--target", "127.0.0.1:1", *options])
    assert 2 == result.exit_code
    assert said in " ".join(result.output.split())
