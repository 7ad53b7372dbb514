"""docs/configuration.md and .env.example: every setting once, with its bounds, the most important ones first."""

import re
from collections import Counter

from servicekit.settings import env_name
from tools.configuration_page import CLIENT, COMPOSE, FIRST, SERVICES, configuration_page, env_example

VARIABLES = {env_name(settings, field) for _, settings in SERVICES for field in settings.model_fields}
EVERY = VARIABLES | {setting.variable for setting in (*CLIENT, *COMPOSE)}


def test_the_page_lists_every_setting_once() -> None:
    """Also those that several services read."""
    assert dict.fromkeys(EVERY, 1) == Counter(re.findall(r"^\| `([A-Z_0-9]+)` ", configuration_page(), re.MULTILINE))


def test_the_page_begins_with_ten_settings() -> None:
    """They exist, and are the first table of variables."""
    assert 10 == len(FIRST)
    assert [*FIRST] == re.findall(r"^\| `([A-Z_0-9]+)` ", configuration_page(), re.MULTILINE)[:10]


def test_the_page_says_how_many_settings_there_are() -> None:
    """The number is that of the variables."""
    assert f" {len(EVERY)} variables" in " ".join(configuration_page().split())


def test_the_example_lists_every_setting_once() -> None:
    """Commented out, with the default."""
    assert dict.fromkeys(EVERY, 1) == Counter(re.findall(r"^#([A-Z_0-9]+)=", env_example(), re.MULTILINE))


def test_bounds_are_shown() -> None:
    """As pydantic checks them."""
    assert "| `DRAIN_SECONDS` | number, 0 to 3,600 |" in configuration_page()
