"""Grafana's dashboards: the questions of an operator, one panel each."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef

_RATE: Final = "[$__rate_interval]"
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="prometheus")

_Queries: TypeAlias = Mapping[str, str]
"""Queries by their legend."""
_Rows: TypeAlias = Mapping[str, tuple[tuple[str, str, _Queries], ...]]
"""Panels by the question that their row answers: title, unit of Grafana, queries."""


def _quantiles(histogram: str, by: str = "") -> _Queries:
    """Returns the queries of median, 90th and 99th percentile; with a label `by`, of the 90th alone."""
    labels = f"le, {by}" if by else "le"
    buckets = f"sum by ({labels}) (rate({histogram}_bucket{_RATE}))"
    shown = ((0.9, f"{{{{{by}}}}}"),) if by else ((0.5, "median"), (0.9, "90 %"), (0.99, "99 %"))
    return {legend: f"histogram_quantile({part}, {buckets})" for part, legend in shown}


def _by(label: str, selector: str, *, function: str = "rate", times: str = "") -> _Queries:
    """Returns the query of a counter by a label."""
    window = _RATE if function == "rate" else "[1h]"
    return {f"{{{{{label}}}}}": f"sum by ({label}) ({function}({selector}{window})){times}"}


def _calls(*providers: str) -> _Queries:
    """Returns the queries of calls to providers by status."""
    return {f"{each} {{{{status}}}}": f"sum by (status) (rate({each}_api_calls_total{_RATE}))" for each in providers}


_STORIES: Final[_Rows] = {
    "Is it slow?": (
        ("Time to the first text", "s", _quantiles("tale_story_first_text_seconds")),
        ("Time to the first sound", "s", _quantiles("tale_story_first_audio_seconds")),
        ("Time to the whole story, 90 %", "s", _quantiles("tale_story_seconds", "state")),
    ),
    "Do stories fail, and why?": (
        ("Stories an hour by end state", "short", _by("state", "tale_stories_total", function="increase")),
        (
            "Failures an hour by reason",
            "short",
            _by("reason", 'tale_stories_total{state=~"FAILED|READY_WITHOUT_AUDIO"}', function="increase"),
        ),
        ("Stories an hour by language", "short", _by("language", "tale_stories_total", function="increase")),
    ),
    "Who waits?": (
        (
            "Stories being made, by state",
            "short",
            {"{{state}}": "sum by (state) (tale_runs)", "limit": "sum(tale_runs_limit)"},
        ),
        (
            "Stories that wait, by what they wait for",
            "short",
            {"{{what}} {{provider}}": "sum by (what, provider) (tale_waiting_stories)"},
        ),
        ("Wait for a place in a run", "s", _quantiles("tale_story_wait_seconds")),
        (
            "Narrations",
            "short",
            {"made": "sum(voice_narrations_admitted)", "waiting": "sum(voice_narrations_waiting)"},
        ),
        ("Listeners", "short", {"streams": "sum(tale_listeners)"}),
        ("Claimed stories an hour", "short", _by("kind", "tale_story_claims_total", function="increase")),
    ),
}
_PROVIDERS: Final[_Rows] = {
    "Which provider?": (
        (
            "Circuit breakers that are not closed",
            "short",
            {"{{service}} {{circuit}}": 'sum by (service, circuit) (circuit_breaker_state{state!="closed"}) > 0'},
        ),
        ("Failed calls a second", "reqps", _by("circuit", 'circuit_breaker_calls_total{outcome="failure"}')),
        ("Calls a second by status", "reqps", _calls("openai", "elevenlabs", "speech")),
        ("First token, 90 %, by model", "s", _quantiles("story_time_to_first_token_seconds", "model")),
        ("First byte of speech, 90 %, by provider", "s", _quantiles("voice_provider_first_byte_seconds", "provider")),
        ("Fallbacks an hour: models", "short", _by("reason", "story_fallbacks_total", function="increase")),
        ("Fallbacks an hour: voices", "short", _by("reason", "voice_fallbacks_total", function="increase")),
        ("Narrations an hour by outcome", "short", _by("outcome", "voice_narrations_total", function="increase")),
        (
            "Second calls for late segments, an hour",
            "short",
            _by("provider", "voice_hedges_total", function="increase"),
        ),
    ),
    "What does it cost?": (
        ("US dollars an hour: models", "currencyUSD", _by("model", "story_cost_usd_total", function="increase")),
        ("US dollars an hour: voices", "currencyUSD", _by("provider", "voice_cost_usd_total", function="increase")),
        (
            "US dollars in 24 hours",
            "currencyUSD",
            {"cost": "tale:cost_usd:increase1d", "budget": "tale:budget_usd:day"},
        ),
        ("Tokens a minute by model", "short", _by("model", "openai_tokens_used_total", times=" * 60")),
        ("Characters a minute by voice provider", "short", _by("provider", "voice_characters_total", times=" * 60")),
        ("Characters left", "short", {"{{provider}}": "min by (provider) (voice_remaining_characters)"}),
    ),
}
_SERVICES: Final[_Rows] = {
    "Is the store full?": (
        (
            "Segment store",
            "bytes",
            {"used": "storage_segment_store_bytes", "limit": "storage_segment_store_max_bytes"},
        ),
        (
            "Lookups of segments a second",
            "reqps",
            {"{{result}}": f"sum by (result) (rate(storage_segment_lookups_total{_RATE}))"},
        ),
        (
            "Segments an hour",
            "short",
            {
                "stored": "sum(increase(storage_segments_stored_total[1h]))",
                "evicted": "sum(increase(storage_segments_evicted_total[1h]))",
            },
        ),
        ("Disk of the embedded store", "bytes", {"free": "storage_disk_free_bytes", "size": "storage_disk_bytes"}),
    ),
    "Does storage keep up?": (
        ("Time of a batch of checkpoints", "s", _quantiles("tale_checkpoint_seconds")),
        ("Stories in a batch", "short", _quantiles("tale_checkpoint_stories")),
        (
            "Seconds until the first lease expires",
            "s",
            {"{{instance}}": "min by (instance) (tale_lease_remaining_seconds)"},
        ),
        ("Clock of gateways ahead of storage's", "s", {"{{instance}}": "tale_clock_skew_seconds"}),
        ("Calls a second to Supabase and S3, by status", "reqps", _calls("supabase", "s3")),
        ("Supabase, 90 %, by call", "s", _quantiles("supabase_api_duration_seconds", "endpoint")),
    ),
    "Are the services well?": (
        ("Services up", "short", {"{{service}}": 'sum by (service) (up{job="tale"})'}),
        ("RPCs a second", "reqps", _by("service", 'grpc_server_handled_total{grpc_service!~"grpc.*"}')),
        ("Failed RPCs a second", "reqps", _by("grpc_code", 'grpc_server_handled_total{grpc_code!="OK"}')),
        ("Slowest methods, 90 %", "s", _quantiles("grpc_server_handling_seconds", "grpc_method")),
        (
            "Refused as overloaded, an hour",
            "short",
            _by("service", "grpc_server_overloaded_total", function="increase"),
        ),
        ("CPU", "percentunit", _by("service", "process_cpu_seconds_total")),
        ("Memory", "bytes", {"{{service}}": "sum by (service) (process_resident_memory_bytes)"}),
        ("Versions", "short", {"{{service}} {{version}}": "sum by (service, version) (tale_build_info)"}),
    ),
}
_DASHBOARDS: Final = {"Tale: stories": _STORIES, "Tale: providers and cost": _PROVIDERS, "Tale: services": _SERVICES}


def dashboards() -> Iterator[tuple[str, str]]:
    """Yields the file of each dashboard and its text."""
    for title, rows in _DASHBOARDS.items():
        uid = re.sub(r"\W+", "-", title.lower())
        dashboard = Dashboard(title).uid(uid).refresh("30s").time("now-6h", "now").tags(["tale"]).readonly()
        for row, panels in rows.items():
            dashboard.with_row(Row(row))
            for panel in panels:
                dashboard.with_panel(_panel(*panel))
        encoded = JSONEncoder(sort_keys=True, indent=2).encode(dashboard.build())
        yield f"deploy/observability/grafana/dashboards/{uid}.json", encoded + "\n"


def _panel(title: str, unit: str, queries: _Queries) -> Panel:
    legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    panel = Panel().title(title).unit(unit).axis_soft_min(0).span(8).height(8).datasource(_SOURCE).legend(legend)
    for number, (shown, query) in enumerate(queries.items()):
        panel.with_target(Dataquery().expr(query).legend_format(shown).ref_id(chr(ord("A") + number)))
    return panel
