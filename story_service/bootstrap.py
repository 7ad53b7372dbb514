"""The composition root: settings -> objects -> service."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from offline_writer import OfflineWriter
from servicekit.languages import LanguageDetector
from servicekit.metrics import Metrics
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog
from servicekit.resilience.retry import RetryBudget, RetryPolicy
from servicekit.secrets import SecretSource
from servicekit.settings import ConfigurationError, env_name, warnings_of
from servicekit.version import VERSION
from story_service.app import StoryApp
from story_service.generation.attempt_request import RequestBuilder, RequestDefaults
from story_service.generation.chat_writer import LONGEST_QUEUE, ChatWriter
from story_service.generation.cost_ledger import ENDPOINT as GENERATION
from story_service.generation.cost_ledger import Generations
from story_service.generation.generation import StoryGenerator
from story_service.generation.selection import ModelSelector
from story_service.metrics import StoryMetrics
from story_service.models.catalogue import Catalogue, ModelList
from story_service.models.known_models import KNOWN_MODELS
from story_service.models.monitor import ProviderMonitor
from story_service.models.names import id_at_provider, provider_of
from story_service.models.states import ModelStates, Paces, circuit_of
from story_service.ports import CHAT, OFFLINE, OPENROUTER, SAFETY, ModelWriter
from story_service.prompting.builder import PromptBuilder
from story_service.providers.chat.dialect import Dialect, chat_server
from story_service.providers.chat.model import ServerChatModel
from story_service.providers.offline import EmbeddedWriter
from story_service.providers.openrouter.dialect import ProviderRouting, openrouter
from story_service.safety.checked_writer import CheckedWriter
from story_service.safety.checks import Checks
from story_service.safety.critic import CRITIC, CRITIC_SECONDS, CriticWriter
from story_service.safety.judge import Judge
from story_service.safety.model import PURPOSE, ModelCheck
from story_service.safety.moderation import ENDPOINT as MODERATION
from story_service.safety.moderation import ModerationCheck
from story_service.safety.ports import SafetyCheck
from story_service.settings import StorySettings
from story_service.wire.servicer import StoryServicer

_OPERATIONS: Final = ("key", "models", GENERATION)
"""Calls beside those that write stories; they can be repeated."""
_LAST_GOOD_SECONDS: Final = 600.0
"""How long the last good answer is used; a new one is due after half of it."""
_LONGEST_WAIT: Final = 60.0
"""Seconds: the span of rate limits. The gateway ends a stream that is silent for two minutes."""
_SHORTEST_COOLDOWN: Final = 10.0
"""Seconds up to which a pause that a provider names is waited out by the call, and closes its model to no other."""
_SLOW_SHARE: Final = 0.5
"""Share of the timeout for the first text from which on a call counts as slow."""
_MOST_LABELS: Final = 100
"""Models that a chat server lists and that have a label of their own in the metrics."""
_SPARE_CONNECTIONS: Final = 32
"""For the calls beside those that write stories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """How long a server may take, in seconds, and how many calls it gets."""

    first_token: float = 30.0
    idle: float = 30.0
    attempt: float = 1_800.0
    attempt_per_minute: float = 60.0
    queue: float = LONGEST_QUEUE
    concurrency: int | None = None
    """None: STORY_CONCURRENCY."""
    slow_share: float | None = _SLOW_SHARE
    check_again: float = 60.0
    """Time until a check that failed is made again."""
    check: float = 10.0
    """Of a call of the safety check."""


_PACE: Final = _Pace()
_LOCAL_PACE: Final = _Pace(
    first_token=600.0,
    idle=300.0,
    attempt_per_minute=120.0,
    queue=3_600.0,
    concurrency=2,
    slow_share=None,
    check_again=10.0,
    check=60.0,
)
"""Of a server in the own network: it loads models, runs on one machine, and answers a few calls at a time."""


@dataclass(frozen=True, slots=True)
class _Upstream:
    """A configured server of models, and what is made for it."""

    server: Dialect
    pace: _Pace
    concurrency: int
    chat: ServerChatModel
    catalogue: Catalogue


def build(
    settings: StorySettings,
    *,
    budget: RetryBudget | None = None,
    retry_delay: float = 1.0,
    generation_info_wait: float = 3.0,
    clock: Callable[[], float] = time.monotonic,
) -> StoryApp:
    """Builds the service. Opens nothing; reads the templates.

    `budget` replaces the usual limit of retries. `retry_delay` is the longest wait before a first retry, and
    `generation_info_wait` how long the end of a story waits for its cost, in seconds. `clock` is that of limits and
    circuit breakers. Raises ConfigurationError for templates that cannot be used.
    """
    engine = OfflineWriter()
    upstreams = {each.server.provider: each for each in _upstreams(settings)}
    configured = [model for model in (settings.default_model, *settings.fallback_models) if model not in {"", OFFLINE}]
    known = [model.id for model in KNOWN_MODELS] if OPENROUTER in upstreams else []
    metrics = Metrics()
    labels = {OFFLINE, *map(id_at_provider, configured), *known}
    circuits = {circuit_of(provider, name) for provider in upstreams for name in _OPERATIONS}
    circuits |= {_circuit_name(model) for model in (*configured, *known)}

    def found(models: Sequence[str]) -> None:
        if len(labels) < _MOST_LABELS:
            labels.update(models[:_MOST_LABELS])
            circuits.update(circuit_of(CHAT, model) for model in models[:_MOST_LABELS])

    story_metrics = StoryMetrics(metrics, models=labels)
    safety_server = _safety_server(settings)
    paced = {**upstreams, **({} if safety_server is None else {SAFETY: safety_server})}
    breakers = BreakerManager(
        lambda name: _breaker(name, settings, paced[name.partition(":")[0]].pace),
        metrics=metrics,
        clock=clock,
        listed=circuits,
    )
    audit = AuditLog(metrics, prefix="openai")
    paces = {provider: Paces() for provider in upstreams}
    monitors = [
        ProviderMonitor(
            each.chat,
            server=each.server,
            catalogue=each.catalogue,
            breakers=breakers,
            audit=audit,
            wanted=[id_at_provider(model) for model in configured if provider_of(model) == each.server.provider],
            chooses=each.server.provider == CHAT and not settings.default_model,
            again=each.pace.check_again,
            found=found,
        )
        for each in upstreams.values()
    ]
    generations = Generations(
        *(each.chat for each in upstreams.values()), breakers=breakers, audit=audit, metrics=story_metrics
    )
    prompts, languages = _prompts(settings), LanguageDetector()
    writers: dict[str, ModelWriter] = {
        each.server.provider: ChatWriter(
            each.chat,
            requests=_requests(settings, each, prompts),
            breakers=breakers,
            limits=ProviderLimits(each.concurrency, settings.requests_per_minute, each.server.provider, clock=clock),
            generations=generations,
            audit=audit,
            metrics=story_metrics,
            paces=paces[each.server.provider],
            longest_queue=each.pace.queue,
            free=each.server.is_free,
            languages=languages,
        )
        for each in upstreams.values()
    }
    judging = _Judging(settings=settings, breakers=breakers, audit=audit, clock=clock)
    if settings.critic == "model":
        critic = judging.judge(upstreams[provider_of(settings.critic_judge)], settings.critic_judge, CRITIC)
        labels.add(id_at_provider(settings.critic_judge))
        writers = {
            provider: CriticWriter(writer, critic, threshold=settings.critic_threshold, metrics=story_metrics)
            for provider, writer in writers.items()
        }
    writers[OFFLINE] = _embedded_writer(engine, settings)
    safety = judging.safety(paced)
    checks = None if safety is None else Checks(safety, metrics=story_metrics)
    if safety is not None and checks is not None:
        writers = {provider: CheckedWriter(writer, checks) for provider, writer in writers.items()}
        circuits.add(safety.circuit.name)
        labels.add(id_at_provider(settings.safety_judge) if settings.safety == "model" else MODERATION)
    chooser = next((each for each in monitors if not settings.default_model), None)
    generator = StoryGenerator(
        selector=ModelSelector(
            default_model=settings.default_model if chooser is None else chooser.default_model,
            fallback_models=settings.fallback_models,
            providers=upstreams,
            trouble=lambda: "" if chooser is None else chooser.trouble,
        ),
        writers=writers,
        safety=checks,
        policy=RetryPolicy(retries=settings.max_retries, delay=retry_delay, longest_wait=_LONGEST_WAIT),
        budget=budget or RetryBudget(concurrency=settings.concurrency, clock=clock),
        generations=generations,
        metrics=story_metrics,
        generation_info_wait=generation_info_wait,
        max_calls=settings.max_calls,
        circuit=lambda model: (
            None if model == OFFLINE else breakers.get(_circuit_name(model), provider=provider_of(model))
        ),
    )

    def default_model() -> str:
        return settings.default_model if chooser is None else chooser.only_model

    models = ModelList(
        [each.catalogue for each in upstreams.values()],
        default=default_model,
        fallback_models=settings.fallback_models,
        language_codes=engine.languages,
        facts=ModelStates(breakers, monitors, paces).facts,
    )
    return StoryApp(
        StoryServicer(generator=generator, catalogue=models),
        default_model=default_model,
        warnings=_warnings(settings),
        monitors=monitors,
        generations=generations,
        safety_server=None if safety_server is None else safety_server.chat,
        metrics=metrics,
        circuits=breakers,
    )


def _upstreams(settings: StorySettings) -> Sequence[_Upstream]:
    return [
        _upstream(settings, dialect, key)
        for dialect, key in (
            (_openrouter(settings), settings.openrouter_key()),
            (chat_server(settings.chat_base_url), settings.chat_key()),
        )
        if dialect.provider in settings.providers
    ]


def _safety_server(settings: StorySettings) -> _Upstream | None:
    """Returns the server that only the safety check uses, None where it is one of those that write, or off."""
    if settings.safety == "off" or not settings.safety_base_url:
        return None
    dialect = chat_server(settings.safety_base_url, provider=SAFETY, prefix="STORY_SAFETY")
    return _upstream(settings, dialect, settings.safety_key())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judging:
    """What judges texts is made of."""

    settings: StorySettings
    breakers: BreakerManager
    audit: AuditLog
    clock: Callable[[], float]

    def safety(self, upstreams: Mapping[str, _Upstream]) -> SafetyCheck | None:
        """Returns the safety check, None where it is off."""
        settings = self.settings
        if settings.safety == "off":
            return None
        provider = CHAT if settings.safety == "moderation" else provider_of(settings.safety_judge)
        upstream = upstreams.get(SAFETY) or upstreams[provider]
        timeout = settings.safety_timeout_seconds or upstream.pace.check
        if settings.safety == "model":
            return ModelCheck(self.judge(upstream, settings.safety_judge, PURPOSE, timeout=timeout))
        return ModerationCheck(
            upstream.chat,
            model=settings.safety_model,
            breakers=self.breakers,
            limits=self._limits(upstream),
            audit=self.audit,
            timeout=timeout,
        )

    def judge(self, upstream: _Upstream, model: str, purpose: str, *, timeout: float = CRITIC_SECONDS) -> Judge:
        """Returns what asks `model` for judgements; `timeout` in seconds for a call."""
        return Judge(
            upstream.chat,
            model=id_at_provider(model),
            purpose=purpose,
            breakers=self.breakers,
            limits=self._limits(upstream),
            audit=self.audit,
            catalogue=upstream.catalogue,
            timeout=timeout,
            free=upstream.server.is_free,
        )

    def _limits(self, upstream: _Upstream) -> ProviderLimits:
        # Its own: a story that waits for a judgement holds a place among those that write.
        return ProviderLimits(
            upstream.concurrency, self.settings.requests_per_minute, upstream.server.provider, clock=self.clock
        )


def _upstream(settings: StorySettings, dialect: Dialect, key: SecretSource) -> _Upstream:
    pace = _LOCAL_PACE if dialect.is_local else _PACE
    concurrency = pace.concurrency or settings.concurrency
    if dialect.provider == CHAT:
        concurrency = settings.chat_concurrency or concurrency
    server = replace(dialect, has_key=bool(key.get()), max_connections=concurrency + _SPARE_CONNECTIONS)
    catalogue = Catalogue(server.provider, free=server.is_free)
    return _Upstream(server, pace, concurrency, ServerChatModel(server, key), catalogue)


def _requests(settings: StorySettings, upstream: _Upstream, prompts: PromptBuilder) -> RequestBuilder:
    return RequestBuilder(
        prompts=prompts,
        catalogue=upstream.catalogue,
        settings=RequestDefaults(
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            first_token_timeout=settings.first_token_timeout_seconds or upstream.pace.first_token,
            idle_timeout=settings.idle_timeout_seconds or upstream.pace.idle,
            attempt_timeout=upstream.pace.attempt,
            attempt_timeout_per_minute=upstream.pace.attempt_per_minute,
        ),
    )


def _openrouter(settings: StorySettings) -> Dialect:
    return openrouter(
        settings.openrouter_base_url,
        routing=ProviderRouting(
            data_collection=settings.openrouter_data_collection,
            order=settings.openrouter_provider_order,
            only=settings.openrouter_provider_only,
            zdr=settings.openrouter_zdr,
        ),
    )


def _circuit_name(model: str) -> str:
    return circuit_of(provider_of(model), id_at_provider(model))


def _prompts(settings: StorySettings) -> PromptBuilder:
    try:
        return PromptBuilder(settings.prompts_dir)
    except ConfigurationError as error:
        raise ConfigurationError(f"{env_name(StorySettings, 'prompts_dir')}: {error}") from None


def _embedded_writer(engine: OfflineWriter, settings: StorySettings) -> EmbeddedWriter:
    return EmbeddedWriter(
        engine,
        engine_version=VERSION,
        idle_timeout=settings.idle_timeout_seconds or _PACE.idle,
        words_per_second=settings.offline_words_per_second,
    )


def _breaker(name: str, settings: StorySettings, pace: _Pace = _PACE) -> BreakerConfig:
    """Five failures in a row, or half of a minute's calls, open a model's circuit breaker for a minute."""
    _, _, model = name.partition(":")
    if model in _OPERATIONS:
        # A generation is polled for within one call already, and a local server is soon checked again.
        once = model == GENERATION or pace is _LOCAL_PACE
        return BreakerConfig(
            name=name,
            max_retries=0 if once else 2,
            recovery_timeout=pace.check_again,
            cache_on_failure=pace is not _LOCAL_PACE,
            cache_ttl=_LAST_GOOD_SECONDS,
        )
    first_token = settings.first_token_timeout_seconds or pace.first_token
    return BreakerConfig(
        name=name,
        shortest_cooldown=_SHORTEST_COOLDOWN,
        opens_when_refused=True,
        slow_call_seconds=None if pace.slow_share is None else pace.slow_share * first_token,
    )


def _warnings(settings: StorySettings) -> tuple[str, ...]:
    """Returns what an operator should know, one sentence each."""
    found = warnings_of(settings)
    if not settings.providers and settings.model != OFFLINE:
        found.append(
            "The embedded writer writes every story. Set OPENROUTER_API_KEY to use a language model, "
            "or CHAT_BASE_URL for a server of your own."
        )
    if OPENROUTER in settings.providers and settings.openrouter_data_collection == "allow":
        found.append(
            "OPENROUTER_DATA_COLLECTION is allow: companies that store what is written about a child may run a model."
        )
    return tuple(found)
