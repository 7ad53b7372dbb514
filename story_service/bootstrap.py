"""The composition root: settings -> objects -> service."""

from servicekit.status_service import package_version
from story_service.app import StoryApp
from story_service.catalogue import OFFLINE, Catalogue, embedded_model
from story_service.embedded import EmbeddedWriter
from story_service.generation import StoryGenerator
from story_service.offline import OfflineWriter
from story_service.selection import ModelSelector
from story_service.servicer import StoryServicer
from story_service.settings import StorySettings


def build(settings: StorySettings) -> StoryApp:
    """Put the service together. Opens nothing."""
    engine = OfflineWriter()
    key_set = settings.openrouter_api_key is not None
    writer = EmbeddedWriter(
        engine,
        engine_version=package_version(),
        idle_timeout=settings.idle_timeout_seconds,
        words_per_second=settings.offline_words_per_second,
    )
    selector = ModelSelector(default_model=settings.model, fallback_models=settings.fallback_models, key_set=key_set)
    servicer = StoryServicer(
        generator=StoryGenerator(selector=selector, writers={OFFLINE: writer}),
        catalogue=Catalogue(
            [embedded_model(language_codes=engine.languages, fallback_models=settings.fallback_models)]
        ),
        total_timeout=settings.total_timeout_seconds,
    )
    return StoryApp(servicer, key_set=key_set, warnings=_warnings(settings, key_set=key_set))


def _warnings(settings: StorySettings, *, key_set: bool) -> tuple[str, ...]:
    """What an operator should know, one sentence each."""
    if key_set:
        return ("OPENROUTER_API_KEY is set, but this version has only the embedded writer: no model will be called.",)
    if settings.model != OFFLINE:
        return ("The embedded writer writes every story; a later version asks models when OPENROUTER_API_KEY is set.",)
    return ()
