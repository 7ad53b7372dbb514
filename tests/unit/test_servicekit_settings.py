"""Settings from the environment."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import pytest
from pydantic import BeforeValidator, Field, Json, SecretStr

from servicekit.addresses import is_loopback, split_address
from servicekit.settings import (
    CommaList,
    ConfigurationError,
    Listen,
    ServiceSettings,
    SharingSettings,
    env_name,
    load,
    unknown_variables,
    variables,
)
from tools.configuration_page import SettingDescription, describe_settings

VARIABLES = (
    *("DEMO_LISTEN", "DEMO_KEY", "DEMO_MODELS", "DEMO_SCRIPT", "DEMO_FORMATS", "DEMO_EAGER", "DEMO_LIMIT"),
    *("DRAIN_SECONDS", "LOG_LEVEL", "LOG_LEVELS", "LOG_FORMAT", "DEMO_FOLDER", "LISTEN"),
)


def _refuse(value: object) -> object:
    if value == "sk-secret":
        raise ValueError("must start with demo-")
    return value


class DemoSettings(ServiceSettings):
    """One field of each sort."""

    listen: Listen = Field(default="127.0.0.1:50059", validation_alias="DEMO_LISTEN", description="gRPC bind address")
    key: Annotated[SecretStr | None, BeforeValidator(_refuse)] = Field(
        default=None, validation_alias="DEMO_KEY", description="Key of the demo"
    )
    models: CommaList = Field(default=("a", "b"), validation_alias="DEMO_MODELS", description="Models, best first")
    script: Json[dict[str, int]] | None = Field(default=None, validation_alias="DEMO_SCRIPT", description="Faults")
    formats: dict[str, str] = Field(default={}, validation_alias="DEMO_FORMATS", description="Formats by name")
    folder: Path = Field(default=Path("./data"), validation_alias="DEMO_FOLDER", description="Folder of the data")
    eager: bool = Field(default=False, validation_alias="DEMO_EAGER", description="Whether to start early")


class StrictSettings(ServiceSettings):
    """Needs a variable."""

    folder: Path = Field(Path("./data"), validation_alias="DEMO_FOLDER", description="Folder of the data")
    limit: int = Field(validation_alias="DEMO_LIMIT", description="Most stories at a time")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this machine counts."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_defaults_stand_when_nothing_is_set() -> None:
    """An empty environment gives the documented defaults."""
    settings = load(DemoSettings)

    assert ("127.0.0.1:50059", Path("data"), 30.0, "INFO", "auto", ("a", "b")) == (
        settings.listen,
        settings.folder,
        settings.drain_seconds,
        settings.log_level,
        settings.log_format,
        settings.models,
    )


def test_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable is parsed into its type; lists are comma-separated."""
    for variable, value in {
        "DEMO_LISTEN": "[::1]:0",
        "DEMO_KEY": "demo-1",
        "DEMO_MODELS": " x/y , offline,",
        "DEMO_SCRIPT": '{"latency_ms": 5}',
        "DEMO_EAGER": "1",
        "DRAIN_SECONDS": "2.5",
        "LOG_LEVEL": "debug",
        "LOG_LEVELS": "grpc=error, aiohttp=WARNING",
        "DEMO_FOLDER": "/var/lib/tale",
    }.items():
        monkeypatch.setenv(variable, value)
    settings = load(DemoSettings)

    assert ("[::1]:0", "demo-1", ("x/y", "offline"), {"latency_ms": 5}, True, 2.5) == (
        settings.listen,
        settings.key.get_secret_value() if settings.key else None,
        settings.models,
        settings.script,
        settings.eager,
        settings.drain_seconds,
    )
    assert ("DEBUG", {"grpc": "ERROR", "aiohttp": "WARNING"}, Path("/var/lib/tale")) == (
        settings.log_level,
        settings.log_levels,
        settings.folder,
    )


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files set what is missing to the empty string."""
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")

    assert DemoSettings() == load(DemoSettings)
    assert None is load(DemoSettings).key


def test_fields_are_given_by_name_in_code_but_not_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`listen=` works in code; a variable LISTEN of some other program does not count."""
    monkeypatch.setenv("LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("FOLDER", "/elsewhere")

    assert "127.0.0.1:7" == DemoSettings(listen="127.0.0.1:7").listen
    assert ("127.0.0.1:50059", Path("data")) == (load(DemoSettings).listen, load(DemoSettings).folder)


def test_every_wrong_variable_is_named_in_one_line_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator learns all that is wrong at once, by the variable's name and remedy; no value is echoed."""
    for variable, value in {
        "DEMO_KEY": "sk-secret",
        "DEMO_LISTEN": "sk-secret",
        "DRAIN_SECONDS": "sk-secret",
        "LOG_FORMAT": "sk-secret",
        "LOG_LEVELS": "sk-secret",
        "DEMO_SCRIPT": "sk-secret",
    }.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load(DemoSettings)
    line = str(caught.value)

    assert 1 == len(line.splitlines())
    assert "sk-secret" not in line
    assert "DEMO_LISTEN must be host:port, such as 127.0.0.1:50051 (gRPC bind address; default 127.0.0.1:50059)" in line
    assert "DEMO_KEY must start with demo- (Key of the demo)" in line
    assert "DRAIN_SECONDS must be a valid number" in line
    assert "LOG_FORMAT must be 'auto', 'console' or 'json'" in line
    assert "LOG_LEVELS must be name=LEVEL,name=LEVEL" in line
    assert "DEMO_SCRIPT " in line


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no default must be set, and the line says what it is for."""
    with pytest.raises(ConfigurationError, match=r"^DEMO_LIMIT must be set \(Most stories at a time\)$"):
        load(StrictSettings)
    monkeypatch.setenv("DEMO_LIMIT", "3")

    assert 3 == load(StrictSettings).limit


def test_a_variable_that_must_be_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library cannot even decode is told the same way."""
    monkeypatch.setenv("DEMO_FORMATS", "sk-secret")

    with pytest.raises(ConfigurationError, match=r"^DEMO_FORMATS must be JSON \(Formats by name\)$"):
        load(DemoSettings)


@pytest.mark.parametrize("level", ["LOUD", "10"])
def test_a_level_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    """The levels of single loggers are checked, too."""
    monkeypatch.setenv("LOG_LEVELS", f"grpc={level}")

    with pytest.raises(ConfigurationError, match=r"^LOG_LEVELS must be 'DEBUG', 'INFO'"):
        load(DemoSettings)


def test_settings_describe_themselves() -> None:
    """Every knob gives variable, type, default and purpose, for the documentation."""
    described = {one.variable: one for one in describe_settings(DemoSettings)}

    assert SettingDescription("DEMO_MODELS", "list", "a,b", "Models, best first") == described["DEMO_MODELS"]
    assert SettingDescription("DEMO_KEY", "secret", "", "Key of the demo") == described["DEMO_KEY"]
    assert SettingDescription("DEMO_EAGER", "boolean", "0", "Whether to start early") == described["DEMO_EAGER"]
    assert ("path", "data") == (described["DEMO_FOLDER"].type, described["DEMO_FOLDER"].default)
    assert ("number", "30") == (described["DRAIN_SECONDS"].type, described["DRAIN_SECONDS"].default)
    assert "auto | console | json" == described["LOG_FORMAT"].type
    assert all(one.description for one in described.values())


def test_the_variable_of_a_field_is_known() -> None:
    """An error about an address can name its variable."""
    assert ("DEMO_LISTEN", "SERVICE_OPS_LISTEN") == (
        env_name(DemoSettings, "listen"),
        env_name(DemoSettings, "ops_listen"),
    )


def test_a_field_without_a_variable_is_refused() -> None:
    """A knob that nobody can set or understand is a defect of the class."""
    with pytest.raises(TypeError, match=r"Bad\.knob needs a variable and a docstring"):

        class Bad(ServiceSettings):
            knob: int = 1


@pytest.mark.parametrize(
    ("listen", "loopback"),
    [
        ("127.0.0.1:50051", True),
        ("127.8.8.8:1", True),
        ("localhost:1", True),
        ("[::1]:50051", True),
        ("0.0.0.0:50051", False),
        ("[::]:50051", False),
        ("10.0.0.7:50051", False),
        ("gateway.example:50051", False),
    ],
)
def test_loopback_is_told_from_the_world(listen: str, *, loopback: bool) -> None:
    """Only what this machine alone can reach is loopback; a name could be anything."""
    assert loopback is is_loopback(listen)


@pytest.mark.parametrize("address", ["", "50051", ":50051", "host:", "host:x", "host:65536", "::1:50051", "host:-1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """An address is host:port, IPv6 in brackets."""
    with pytest.raises(ValueError, match="must"):
        split_address(address)


def test_an_address_is_split() -> None:
    """Brackets are no part of the host."""
    assert [("::1", 50051), ("10.0.0.7", 0)] == [split_address("[::1]:50051"), split_address("10.0.0.7:0")]


class FamilySettings(ServiceSettings):
    """Settings with a prefix of their own."""

    model_config = variables("DEMO_", "other_")
    prefixes = ("DEMO_",)
    elsewhere = frozenset({"DEMO_TARGET"})
    replaced = MappingProxyType({"DEMO_ENDPOINT": "OTHER_ENDPOINT"})

    model: str = ""
    """Model"""
    servers: str = ""
    """Servers, with the variables of their keys"""


def test_variable_that_is_no_setting_is_named_with_the_nearest_one() -> None:
    """Its value is not in the line."""
    lines = unknown_variables(FamilySettings, {"DEMO_MODLE": "sk-secret", "DEMO_QQQQQQQQQQ": "sk-secret"})
    assert ["DEMO_MODLE is not a setting; did you mean DEMO_MODEL?", "DEMO_QQQQQQQQQQ is not a setting"] == lines


@pytest.mark.parametrize(
    "name",
    [
        *("DEMO_MODEL", "DEMO_TARGET", "OTHER_MODLE", "LOG_LEVL", "AWS_PROFILE", "DEMO_A_KEY", "DEMO_A_KEY_FILE"),
        *("DEMO_SERVICE_HOST", "DEMO_SERVICE_PORT", "DEMO_PORT", "DEMO_PORT_50052_TCP_ADDR"),
    ],
)
def test_variable_of_another_program_is_no_mistake(name: str) -> None:
    """Nor one that a setting names, nor those that Kubernetes adds; nor one that is empty."""
    servers = '[{"key_variable": "DEMO_A_KEY"}]'
    assert [] == unknown_variables(FamilySettings, {"DEMO_SERVERS": servers, name: "x", "DEMO_UNSET": ""})


@pytest.mark.parametrize(
    "url",
    [
        *("redis://host", "redis://host/", "rediss://:s3cret@host:6380/12", "valkey://me:s3cret@[::1]:6379/0"),
        *("valkeys://:s3%23%2Fcret@host:6379/0?ssl_ca_certs=/etc/ca.pem", ""),
    ],
)
def test_url_of_a_circuit_store_is_accepted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without password, port and number."""
    monkeypatch.setenv("CIRCUIT_STORE_URL", url)
    assert url == load(SharingSettings).circuit_store_url.get_secret_value()


@pytest.mark.parametrize(
    "url",
    [
        *("host:6379", "http://:s3cret@host", "redis://", "redis://:s3cret@", "redis://:s3cret@host:0/0"),
        *("redis://:s3cret@host:65536/0", "redis://:s3cret@host:port/0", "redis://:s3cret@host/zero"),
        *("redis://:s3cret@host/0/1", "redis://:s3#cret@host:6379/0", "redis://:s3/cret@host:6379/0"),
        *(
            "redis://:s3cret@host/0?db=1",
            "redis://:s3cret@[host/0",
            "redis://:s3cret@ho st/0",
            "redis://:s3cret@host/-1",
        ),
    ],
)
def test_wrong_url_of_a_circuit_store_stops_the_start_with_the_remedy(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its password is not shown."""
    monkeypatch.setenv("CIRCUIT_STORE_URL", url)
    with pytest.raises(ConfigurationError) as refused:
        load(SharingSettings)
    said = str(refused.value)
    assert said.startswith("CIRCUIT_STORE_URL must be redis://:password@host:port/number (or rediss://")
    assert "cret@" not in said
    assert "s3" not in said
    assert "\n" not in said


def test_variable_that_was_replaced_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """To ignore it would do harm."""
    monkeypatch.setenv("DEMO_ENDPOINT", "")
    assert load(FamilySettings)
    monkeypatch.setenv("DEMO_ENDPOINT", "http://secret")
    with pytest.raises(ConfigurationError, match=r"^DEMO_ENDPOINT is not a setting any more: set OTHER_ENDPOINT inst"):
        load(FamilySettings)


LONG = "a-secret-of-the-cluster"


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"listen": "0.0.0.0:0"}, "SERVICE_TOKEN is not set"),
        ({"listen": "[::]:0"}, "SERVICE_ALLOW_ANONYMOUS=1"),
        ({"listen": "0.0.0.0:0", "service_token": "  "}, "SERVICE_TOKEN is not set"),
        ({"service_token": "short"}, "at least 16 characters"),
        ({"service_token": f"{LONG},short"}, "at least 16 characters"),
        ({"listen": "0.0.0.0:0", "service_token": LONG}, ""),
        ({"listen": "0.0.0.0:0", "service_allow_anonymous": True}, ""),
        ({"listen": "127.0.0.1:0"}, ""),
    ],
)
def test_a_port_beyond_this_machine_needs_the_secret(settings: dict[str, object], refused: str) -> None:
    """A secret that could be guessed is refused wherever the service listens, and is in no error text."""
    if not refused:
        ServiceSettings.model_validate(settings)
        return
    with pytest.raises(ValueError, match=refused) as caught:
        ServiceSettings.model_validate(settings)
    assert LONG not in str(caught.value)


def test_the_first_service_makes_the_secret(tmp_path: Path) -> None:
    """All that share the folder have the same one, whoever was first; one that cannot be made is refused."""
    file = tmp_path / "token"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: str(ServiceSettings(service_token_file=file).peer_token), range(8)))

    assert {file.read_text()} == set(made)
    assert 32 <= len(made[0])
    assert (0o600, [file]) == (file.stat().st_mode & 0o777, list(tmp_path.iterdir()))
    with pytest.raises(ValueError, match="SERVICE_TOKEN_FILE cannot be made"):
        ServiceSettings(service_token_file=tmp_path / "missing" / "token")
    file.write_text("short")
    with pytest.raises(ValueError, match="at least 16 characters"):
        ServiceSettings(service_token_file=file)
