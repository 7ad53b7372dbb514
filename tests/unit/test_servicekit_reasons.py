"""The table of reasons, and that everything that fails takes its reason from there."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import pytest

from servicekit.errors import DomainError
from servicekit.reasons import REASONS, Reason, reason_of
from servicekit.resilience.errors import TREATMENTS, ProviderErrorKind
from tale_client.errors import OWN_REASONS, OwnReason

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("servicekit", "gateway", "story_service", "voice_service", "storage_service")
MAKERS = {"DomainError", "not_found", "unavailable", "Treatment"}
TABLE: Mapping[str, Reason | OwnReason] = {**REASONS, **OWN_REASONS}


def used_reasons() -> Iterator[tuple[str, str]]:
    """Every reason that the services write out where they make an error, with the file."""
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
                given = [*node.args[:1], *(each.value for each in node.keywords if each.arg == "reason")]
                for each in given:
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        yield each.value, path.name


def test_reason_used_in_the_services_is_in_the_table() -> None:
    """Found here, and not when the error happens."""
    used = list(used_reasons())
    assert len(used) > 30
    assert [] == [each for each in used if each[0] not in REASONS]


def test_unknown_reason_is_a_defect() -> None:
    """It is found where the error is made."""
    with pytest.raises(LookupError, match="NO_SUCH_REASON"):
        DomainError("NO_SUCH_REASON", "Something failed.")


@pytest.mark.parametrize("name", TABLE)
def test_remedy_is_one_sentence(name: str) -> None:
    """It begins with a capital letter and ends with a full stop."""
    remedy = TABLE[name].remedy
    assert remedy[0].isupper()
    assert remedy.endswith(".")
    assert ". " not in remedy


@pytest.mark.parametrize("name", [name for name, each in TABLE.items() if not each.retryable])
def test_remedy_of_a_final_failure_does_not_say_try_again(name: str) -> None:
    """The same call must fail again."""
    remedy = TABLE[name].remedy.lower()
    assert "try again" not in remedy
    assert "later" not in remedy


@pytest.mark.parametrize("name", [name for name, each in REASONS.items() if each.code == "UNAVAILABLE"])
def test_unavailable_is_retryable(name: str) -> None:
    """Clients in every language take UNAVAILABLE for that."""
    assert REASONS[name].retryable


def test_codes_are_those_of_grpc() -> None:
    """Misspelled ones are found here."""
    assert {each.code for each in REASONS.values()} <= {code.name for code in grpc.StatusCode}


@pytest.mark.parametrize("kind", TREATMENTS)
def test_treatment_of_a_provider_failure_follows_its_reason(kind: ProviderErrorKind) -> None:
    """Whether to repeat the call, and whether the circuit breaker counts it."""
    treatment = TREATMENTS[kind]
    assert reason_of(treatment.reason).retryable == treatment.retry
    assert reason_of(treatment.reason).breaks_circuit == treatment.break_circuit
