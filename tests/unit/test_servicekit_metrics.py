"""What a process counts, and the audit of its calls to providers."""

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from support.circuits import FakeClock

from servicekit.metrics import Metrics
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog


def rpcs(metrics: Metrics, service: str, method: str, code: str) -> float | None:
    """How often that was counted."""
    labels = {"grpc_service": service, "grpc_method": method, "grpc_code": code}
    return metrics.registry.get_sample_value("grpc_server_handled_total", labels)


def test_rpcs_are_counted_by_method_and_code() -> None:
    """And measured, in seconds."""
    metrics = Metrics()
    for code, seconds in (("OK", 0.2), ("OK", 0.3), ("NOT_FOUND", 0.1)):
        metrics.rpc("/demo.v1.Demo/Get", code, seconds, known=True)
    labels = {"grpc_service": "demo.v1.Demo", "grpc_method": "Get", "grpc_code": "OK"}

    assert (2, 1) == (rpcs(metrics, "demo.v1.Demo", "Get", "OK"), rpcs(metrics, "demo.v1.Demo", "Get", "NOT_FOUND"))
    assert 0.5 == metrics.registry.get_sample_value("grpc_server_handling_seconds_sum", labels)


def test_unknown_methods_are_one() -> None:
    """A caller cannot fill the memory with names; neither can a handler that takes them all."""
    metrics = Metrics()
    for each in range(1000):
        metrics.rpc(f"/made.Up/Method{each}", "UNIMPLEMENTED", 0.1, known=False)
        metrics.rpc(f"/any.Thing/Method{each}", "OK", 0.1, known=True)
    series = [
        sample
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "grpc_server_handled_total"
    ]

    assert 1000 == rpcs(metrics, "other", "other", "UNIMPLEMENTED")
    assert (202, 800) == (len(series), rpcs(metrics, "other", "other", "OK"))


def test_every_object_has_a_registry_of_its_own() -> None:
    """Two servers in one process do not count for each other."""
    first, second = Metrics(), Metrics()
    first.counter("stories", "Stories").inc()

    assert (1.0, None) == (
        first.registry.get_sample_value("stories_total"),
        second.registry.get_sample_value("stories_total"),
    )
    assert isinstance(first.registry, CollectorRegistry)


def test_labels_from_outside_are_bounded() -> None:
    """The first ones are themselves, the rest "other"; those that are known stay."""
    labels = Metrics().labels(2)

    assert ["a", "b", "other", "a"] == [labels.of(value) for value in ("a", "b", "c", "a")]


def test_a_service_adds_metrics_of_its_own() -> None:
    """Counters, histograms and gauges."""
    metrics = Metrics()
    metrics.histogram("first_token_seconds", "To the first token", ("model",), buckets=(1.0,)).labels("m").observe(0.5)
    metrics.gauge("running_stories", "Stories").set(3)

    assert (1.0, 3.0) == (
        metrics.registry.get_sample_value("first_token_seconds_bucket", {"model": "m", "le": "1.0"}),
        metrics.registry.get_sample_value("running_stories"),
    )


def test_circuits_are_shown_as_they_are() -> None:
    """State, calls by outcome and transitions, read when they are asked for."""
    metrics, clock = Metrics(), FakeClock()
    breakers = BreakerManager(metrics=metrics, clock=clock)
    with breakers.get("models").call():
        pass
    for _ in range(5):
        call = breakers.get("models").call().__enter__()
        call.__exit__(TimeoutError, TimeoutError(), None)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"circuit": "models", **labels})

    assert (0.0, 1.0) == (
        value("circuit_breaker_state", state="closed"),
        value("circuit_breaker_state", state="open"),
    )
    assert (1.0, 5.0) == (
        value("circuit_breaker_calls_total", outcome="success"),
        value("circuit_breaker_calls_total", outcome="failure"),
    )
    assert (1.0, 0.0) == (
        value("circuit_breaker_transitions_total", state="open"),
        value("circuit_breaker_transitions_total", state="half_open"),
    )


def test_an_upstream_call_is_one_line_and_one_count() -> None:
    """Provider, endpoint, status, duration and ids; the upstream's request id under a name of its own."""
    metrics = Metrics()
    audit = AuditLog(metrics, prefix="openai")
    with capture_logs() as logs:
        audit.record("openrouter", "chat/completions", 200, 1.25, request_id="req-1", generation_id="gen-2", model="")
        audit.record("openrouter", "chat/completions", "timeout", 30.0)

    assert [
        {
            "event": "upstream call",
            "log_level": "info",
            "provider": "openrouter",
            "endpoint": "chat/completions",
            "status": 200,
            "duration_ms": 1250.0,
            "upstream_request_id": "req-1",
            "generation_id": "gen-2",
        },
        {
            "event": "upstream call",
            "log_level": "info",
            "provider": "openrouter",
            "endpoint": "chat/completions",
            "status": "timeout",
            "duration_ms": 30000.0,
        },
    ] == logs
    calls = {"endpoint": "chat/completions", "status": "200"}
    assert 1 == metrics.registry.get_sample_value("openai_api_calls_total", calls)
    endpoint = {"endpoint": "chat/completions"}
    assert 31.25 == metrics.registry.get_sample_value("openai_api_duration_seconds_sum", endpoint)


@pytest.mark.parametrize("text", ["Once upon a time", "line\nbreak", "Мира", "x" * 200])
def test_text_is_no_id(text: str) -> None:
    """What does not look like an id is not written, whoever passes it."""
    with capture_logs() as logs:
        AuditLog().record("demo", "speech", 200, 0.1, voice=text)

    assert "(no id)" == logs[0]["voice"]


def test_names_that_callers_make_up_have_one_label() -> None:
    """However many there are, Prometheus sees the listed circuits and one more."""
    metrics = Metrics()
    breakers = BreakerManager(metrics=metrics, listed=["models"])
    for name in ("models", "a/b", "c/d", "e/f"):
        with breakers.get(name).call():
            pass
    breakers.get("e/f").open_until(60)

    def value(name: str, circuit: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"circuit": circuit, **labels})

    assert (1.0, 3.0) == tuple(
        value("circuit_breaker_calls_total", circuit, outcome="success") for circuit in ("models", "other")
    )
    assert (2.0, 1.0) == tuple(value("circuit_breaker_state", "other", state=state) for state in ("closed", "open"))
    assert None is value("circuit_breaker_state", "a/b", state="closed")
