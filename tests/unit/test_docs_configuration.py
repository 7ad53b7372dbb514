"""docs/configuration.md and .env.example: every setting once, with its bounds, the most important ones first."""

import re
from collections import Counter

import grpc

from servicekit.reasons import REASONS
from servicekit.resilience.errors import ProviderErrorKind
from servicekit.settings import env_name, unknown_variables
from tale_client.errors import OWN_REASONS
from tools.configuration_page import CLIENT, COMPOSE, FIRST, ROOT, SERVICES, TRACES, configuration_page, env_example
from voice_service.providers.offline.provider import OfflineVoiceProvider

NAME = r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b"
OTHERS = {
    *("ACME_KEY", "ACME_URL", "PGRST_DB_SCHEMAS", "OLLAMA_HOST", "OLLAMA_CONTEXT_LENGTH"),
    "OTEL_SERVICE_NAME",
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"),
}
"""Variables of other programs, and of the examples."""

VARIABLES = {env_name(settings, field) for _, settings in SERVICES for field in settings.model_fields}
EVERY = VARIABLES | {setting.variable for setting in (*CLIENT, *COMPOSE, *TRACES)}


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


def test_documents_name_settings_that_exist() -> None:
    """Whatever looks like a variable is one, or a reason, or a state or another value of the contracts."""
    contracts = (place.read_text(encoding="utf-8") for place in (ROOT / "protos" / "tale").rglob("*.proto"))
    codes = {code.name for code in grpc.StatusCode} | {kind.name for kind in ProviderErrorKind}
    # Of the programs of deploy/observability, and of the tracer.
    observers = set(re.findall(r"\$\{(\w+)", (ROOT / "deploy" / "observability" / "compose.yml").read_text()))
    observers.add("OTEL_EXPORTER_OTLP_ENDPOINT")
    known = EVERY | observers
    known |= codes | REASONS.keys() | OWN_REASONS.keys() | OTHERS | set(re.findall(NAME, " ".join(contracts)))
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    unknown = {
        f"{page.name}: {name}"
        for page in pages
        # What servers send has names of its own.
        if page.name not in {"CHANGELOG.md", "compatibility.md"}
        for name in re.findall(
            NAME, re.sub(r"^```python.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        )
        if name not in known and not any(value.endswith(f"_{name}") for value in known)
    }
    assert set() == unknown


def test_no_service_warns_of_a_setting_of_another_program() -> None:
    """They may share one environment."""
    everything = dict.fromkeys(EVERY, "x")
    assert [] == [line for _, settings in SERVICES for line in unknown_variables(settings, everything)]


def test_each_variable_of_a_service_begins_with_a_prefix_that_one_judges() -> None:
    """So a slip in its end is named."""
    judged = tuple(prefix for _, settings in SERVICES for prefix in settings.prefixes)
    others = ("AWS_", "DEFAULT_", "DRAIN_", "LOG_", "OPENAI_", "TALE_")
    assert set() == {name for name in VARIABLES if not name.startswith((*judged, *others))}


def test_documents_agree_on_the_number_of_embedded_languages() -> None:
    """As many as espeak-ng has dictionaries for, regions not counted."""
    number = len({code.partition("-")[0] for code in OfflineVoiceProvider(workers=1).metadata.languages})
    for page in ("README.md", "CHANGELOG.md", "docs/voices.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert {str(number)} == set(re.findall(r"(\d+) languages", text)), page
