"""The composition root: settings -> objects -> service."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from offline_writer import OfflineWriter
from servicekit.metrics import Metrics
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog
from servicekit.resilience.retry import RetryBudget, RetryPolicy
from servicekit.settings import ConfigurationError, env_name
from servicekit.version import VERSION
from story_service.app import OPENROUTER, StoryApp
from story_service.generation.attempt_request import RequestBuilder, RequestDefaults
from story_service.generation.chat_writer import ChatWriter
from story_service.generation.cost_ledger import ENDPOINT as GENERATION
from story_service.generation.cost_ledger import Generations
from story_service.generation.generation import StoryGenerator
from story_service.generation.selection import ModelSelector
from story_service.metrics import StoryMetrics
from story_service.models.catalogue import Catalogue, listed_models
from story_service.models.monitor import Provider, ProviderMonitor
from story_service.models.states import ModelStates, Paces, circuit_of
from story_service.ports import OFFLINE
from story_service.prompting.builder import PromptBuilder
from story_service.providers.chat.model import ServerChatModel
from story_service.providers.offline import EmbeddedWriter
from story_service.providers.openrouter.dialect import ProviderRouting, openrouter
from story_service.settings import StorySettings
from story_service.wire.servicer import StoryServicer

_OPERATIONS: Final = tuple(circuit_of(OPENROUTER, name) for name in ("key", "models", GENERATION))
"""Calls beside those that write stories; they can be repeated."""
_MODELS_REFRESH: Final = 300.0
"""Seconds after which the list of models is fetched again."""
_LAST_GOOD_SECONDS: Final = 300.0
"""How long the last good answer is used after a new one was due."""
_LONGEST_WAIT: Final = 60.0
"""Seconds: the span of rate limits. The gateway ends a stream that is silent for two minutes."""
_SHORTEST_COOLDOWN: Final = 10.0
"""Seconds up to which a pause that a provider names is waited out by the call, and closes its model to no other."""
_SLOW_SHARE: Final = 0.5
"""Share of the timeout for the first text from which on a call counts as slow."""
_SPARE_CONNECTIONS: Final = 32
"""For the calls beside those that write stories."""


@dataclass(frozen=True, slots=True)
class _Paid:
    """What exists only with a key."""

    writer: ChatWriter
    generations: Generations
    monitor: ProviderMonitor


def build(
    settings: StorySettings,
    *,
    provider: Provider | None = None,
    budget: RetryBudget | None = None,
    retry_delay: float = 1.0,
    generation_info_wait: float = 3.0,
    clock: Callable[[], float] = time.monotonic,
) -> StoryApp:
    """Builds the service. Opens nothing; reads the templates.

    `provider` replaces OpenRouter, and `budget` the usual limit of retries. `retry_delay` is the longest wait before a
    first retry, and `generation_info_wait` how long the end of a story waits for its cost, in seconds. `clock` is that
    of limits and circuit breakers. Raises ConfigurationError for templates that cannot be used.
    """
    engine = OfflineWriter()
    key_set = provider is not None or bool(settings.openrouter_key().get())
    models = listed_models(
        default_model=settings.model,
        fallback_models=settings.fallback_models,
        language_codes=engine.languages,
        key_set=key_set,
    )
    catalogue = Catalogue(models, key_set=key_set)
    metrics = Metrics()
    story_metrics = StoryMetrics(metrics, models=[model.id for model in models])
    breakers = BreakerManager(
        lambda name: _breaker(name, settings),
        metrics=metrics,
        clock=clock,
        listed=[*_OPERATIONS, *(circuit_of(OPENROUTER, model.id) for model in models if not model.embedded)],
    )
    paces = Paces()
    prompts = _prompts(settings)
    paid: _Paid | None = None
    if key_set:
        paid = _paid(
            provider or _openrouter(settings),
            settings=settings,
            prompts=prompts,
            catalogue=catalogue,
            breakers=breakers,
            paces=paces,
            audit=AuditLog(metrics, prefix="openai"),
            metrics=story_metrics,
            clock=clock,
        )
    generator = StoryGenerator(
        selector=ModelSelector(default_model=settings.model, fallback_models=settings.fallback_models, key_set=key_set),
        writers={OFFLINE: _embedded_writer(engine, settings)},
        chat_writer=paid.writer if paid is not None else None,
        policy=RetryPolicy(retries=settings.max_retries, delay=retry_delay, longest_wait=_LONGEST_WAIT),
        budget=budget or RetryBudget(concurrency=settings.concurrency, clock=clock),
        generations=paid.generations if paid is not None else None,
        metrics=story_metrics,
        generation_info_wait=generation_info_wait,
        max_calls=settings.max_calls,
        circuit=lambda model: breakers.get(circuit_of(OPENROUTER, model), provider=OPENROUTER),
    )
    now = ModelStates(
        provider=OPENROUTER,
        models=[model.id for model in models if not model.embedded],
        breakers=breakers,
        paces=paces,
        monitor=paid.monitor if paid is not None else None,
    )
    servicer = StoryServicer(generator=generator, catalogue=catalogue, facts=now.facts)
    return StoryApp(
        servicer,
        default_model=settings.model,
        warnings=_warnings(settings, key_set=key_set),
        monitor=paid.monitor if paid is not None else None,
        generations=paid.generations if paid is not None else None,
        metrics=metrics,
        circuits=breakers,
    )


def _paid(
    provider: Provider,
    *,
    settings: StorySettings,
    prompts: PromptBuilder,
    catalogue: Catalogue,
    breakers: BreakerManager,
    paces: Paces,
    audit: AuditLog,
    metrics: StoryMetrics,
    clock: Callable[[], float],
) -> _Paid:
    generations = Generations(provider, breakers=breakers, audit=audit, metrics=metrics)
    writer = ChatWriter(
        provider,
        requests=RequestBuilder(
            prompts=prompts,
            catalogue=catalogue,
            settings=RequestDefaults(
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                first_token_timeout=settings.first_token_timeout_seconds,
                idle_timeout=settings.idle_timeout_seconds,
            ),
        ),
        breakers=breakers,
        limits=ProviderLimits(settings.concurrency, settings.requests_per_minute, OPENROUTER, clock=clock),
        generations=generations,
        audit=audit,
        metrics=metrics,
        paces=paces,
    )
    monitor = ProviderMonitor(provider, catalogue=catalogue, breakers=breakers, audit=audit, interval=_MODELS_REFRESH)
    return _Paid(writer, generations, monitor)


def _openrouter(settings: StorySettings) -> ServerChatModel:
    return ServerChatModel(
        openrouter(
            settings.openrouter_base_url,
            routing=ProviderRouting(
                data_collection=settings.openrouter_data_collection,
                order=settings.openrouter_provider_order,
                only=settings.openrouter_provider_only,
                zdr=settings.openrouter_zdr,
            ),
            max_connections=settings.concurrency + _SPARE_CONNECTIONS,
        ),
        settings.openrouter_key(),
    )


def _prompts(settings: StorySettings) -> PromptBuilder:
    try:
        return PromptBuilder(settings.prompts_dir)
    except ConfigurationError as error:
        raise ConfigurationError(f"{env_name(StorySettings, 'prompts_dir')}: {error}") from None


def _embedded_writer(engine: OfflineWriter, settings: StorySettings) -> EmbeddedWriter:
    return EmbeddedWriter(
        engine,
        engine_version=VERSION,
        idle_timeout=settings.idle_timeout_seconds,
        words_per_second=settings.offline_words_per_second,
    )


def _breaker(name: str, settings: StorySettings) -> BreakerConfig:
    """Five failures in a row, or half of a minute's calls, open a model's circuit breaker for a minute."""
    if name in _OPERATIONS:
        return BreakerConfig(
            name=name,
            # A generation is polled for within one call already.
            max_retries=0 if name == _OPERATIONS[-1] else 2,
            cache_on_failure=True,
            cache_ttl=_MODELS_REFRESH + _LAST_GOOD_SECONDS,
        )
    return BreakerConfig(
        name=name,
        shortest_cooldown=_SHORTEST_COOLDOWN,
        opens_when_refused=True,
        slow_call_seconds=_SLOW_SHARE * settings.first_token_timeout_seconds,
    )


def _warnings(settings: StorySettings, *, key_set: bool) -> tuple[str, ...]:
    """Returns what an operator should know, one sentence each."""
    found: list[str] = []
    if not key_set and settings.model != OFFLINE:
        found.append("The embedded writer writes every story. Set OPENROUTER_API_KEY to use a language model.")
    if key_set and settings.openrouter_data_collection == "allow":
        found.append(
            "OPENROUTER_DATA_COLLECTION is allow: companies that store what is written about a child may run a model."
        )
    return tuple(found)
