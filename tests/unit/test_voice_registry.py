"""Which provider speaks, and who stands in."""

from importlib.metadata import EntryPoint
from unittest.mock import AsyncMock

import grpc
import pytest
from support.voice_kit import NamedVoice, faults

from servicekit.errors import DomainError
from servicekit.reasons import reason_of
from servicekit.resilience.errors import CircuitOpenError
from voice_service.narration.messages import VoiceChoice
from voice_service.narration.speaker import choose, foreign, next_speaker
from voice_service.ports import VoiceProvider
from voice_service.providers.factory import GROUP, load_plugins
from voice_service.providers.registry import NO_ANSWER, Announced, Availability, ProviderRegistry


def _registry(
    default: str, *fallback: str, unset: tuple[str, ...] = (), names: str = "offline mock one two"
) -> ProviderRegistry:
    registry = ProviderRegistry(default, fallback, preferred=("elevenlabs", "speech"))
    for name in names.split():
        registry.register(NamedVoice(name, faults(configured=name not in unset)))
    registry.announce(Announced("elevenlabs", "ElevenLabs", "set ELEVENLABS_API_KEY"))
    registry.announce(Announced("speech", "Speech", "set SPEECH_BASE_URL"))
    return registry


@pytest.mark.parametrize(
    ("default", "fallback", "unset", "requested", "order", "stand_in"),
    [
        ("one", (), (), "", "one", False),
        ("one", ("two",), (), "", "one two", False),
        ("one", ("two", "offline"), (), "two", "two one offline", False),
        ("one", ("two",), ("one",), "", "two", False),
        ("elevenlabs", (), (), "", "offline", True),
        ("elevenlabs", ("two",), (), "", "two", False),
        ("elevenlabs", ("two",), (), "elevenlabs", "two", False),
        ("elevenlabs", ("two",), ("two",), "", "offline", True),
        ("offline", (), (), "", "offline", False),
        ("offline", (), (), "one", "one", False),
        ("offline", ("offline",), (), "one", "one offline", False),
        ("one", (), (), "offline", "offline one", False),
        ("one", (), (), "mock", "mock one", False),
        ("one", ("one", "two", "two"), (), "one", "one two", False),
    ],
)
async def test_requested_then_default_then_fallbacks(
    default: str, fallback: tuple[str, ...], unset: tuple[str, ...], requested: str, order: str, stand_in: bool
) -> None:
    """Only those that are set up, the embedded voice only where it is named or nothing else is set up."""
    chain = await _registry(default, *fallback, unset=unset).get_provider_with_fallback(requested)

    assert (order, stand_in) == (" ".join(each.metadata.name for each in chain.providers), chain.stand_in)


@pytest.mark.parametrize(
    ("requested", "unset", "code", "reason"),
    [
        ("nobody", (), grpc.StatusCode.NOT_FOUND, "PROVIDER_NOT_FOUND"),
        ("elevenlabs", ("one",), grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION"),
        ("one", ("one",), grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION"),
        ("", ("one", "offline"), grpc.StatusCode.UNAVAILABLE, "NO_PROVIDERS_AVAILABLE"),
    ],
)
async def test_nobody_to_speak(requested: str, unset: tuple[str, ...], code: grpc.StatusCode, reason: str) -> None:
    """Unknown names fail at once; what is not set up says what to do."""
    with pytest.raises(DomainError) as caught:
        await _registry("one", unset=unset).get_provider_with_fallback(requested)

    assert (code, reason) == (caught.value.code, caught.value.reason)


class Refused(NamedVoice):
    """One whose key is set, and refused; or whose server is set, and does not say."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name)
        self._why = why

    async def validate_configuration(self) -> str:
        return self._why


@pytest.mark.parametrize(
    ("default", "refused", "why", "code", "reason"),
    [
        ("elevenlabs", "elevenlabs", "it refuses the key", "FAILED_PRECONDITION", "INVALID_CONFIGURATION"),
        ("mock", "elevenlabs", "it refuses the key", "FAILED_PRECONDITION", "INVALID_CONFIGURATION"),
        ("acme", "acme", "it refuses the key", "FAILED_PRECONDITION", "INVALID_CONFIGURATION"),
        ("acme", "acme", NO_ANSWER, "UNAVAILABLE", "NO_PROVIDERS_AVAILABLE"),
    ],
)
async def test_the_embedded_voice_does_not_stand_in_for_one_that_is_set(
    default: str, refused: str, why: str, code: str, reason: str
) -> None:
    """A key that is refused is no key that is not there: the caller is told of it."""
    registry = ProviderRegistry(default, preferred=("elevenlabs", "speech"))
    for each in (NamedVoice("offline"), NamedVoice("mock", faults(configured=False)), Refused(refused, why)):
        registry.register(each)
    with pytest.raises(DomainError) as caught:
        await registry.candidates()

    assert (code, reason, {refused: why}) == (caught.value.code.name, caught.value.reason, caught.value.metadata)


async def test_the_embedded_voice_does_not_stand_in_for_one_that_can_not_be_loaded() -> None:
    """Somebody installed it and named it."""
    registry = ProviderRegistry("acme")
    registry.register(NamedVoice("offline"))
    registry.announce(Announced("acme", "Acme", "acme:make can not be loaded (ImportError)", is_set=True))
    with pytest.raises(DomainError, match="INVALID_CONFIGURATION"):
        await registry.candidates()


async def test_one_that_is_named_stands_in_for_a_refused_key() -> None:
    """Also the embedded voice, where it is in the order of fallback."""
    registry = ProviderRegistry("elevenlabs", ["offline"])
    for each in (NamedVoice("offline"), Refused("elevenlabs", "it refuses the key")):
        registry.register(each)
    chain = await registry.candidates()

    assert (["offline"], False) == ([each.metadata.name for each in chain.providers], chain.stand_in)


async def test_what_is_not_set_up_says_how_to_set_it_up() -> None:
    """The metadata name the variable."""
    with pytest.raises(DomainError) as caught:
        await _registry("elevenlabs").get_provider_with_fallback("elevenlabs")

    assert {"elevenlabs": "set ELEVENLABS_API_KEY"} == caught.value.metadata


def test_providers_come_and_go() -> None:
    """Registering twice is a mistake, an unregistered one is unknown, and the default can be changed."""
    registry = _registry("one")
    with pytest.raises(ValueError, match="'one' is registered"):
        registry.register(NamedVoice("one"))
    registry.unregister("two")
    registry.set_default_provider("mock")

    assert "mock" == registry.get_default_provider_name()
    assert (False, True) == (registry.knows("two"), registry.knows("speech"))
    with pytest.raises(DomainError, match="PROVIDER_NOT_FOUND"):
        registry.get_provider("two")
    with pytest.raises(DomainError, match="PROVIDER_NOT_FOUND"):
        registry.set_default_provider("two")


async def test_lists_are_in_the_order_of_trying() -> None:
    """Default, fallbacks, the well-known ones, the rest by name; available are those that can be called."""
    registry = _registry("two", "offline", unset=("one",))
    names = [each.name if isinstance(each, Announced) else each.metadata.name for each in registry.list_providers()]

    assert ["two", "offline", "elevenlabs", "speech", "mock", "one"] == names
    assert ["two", "offline", "mock"] == [each.metadata.name for each in await registry.list_available_providers()]


async def _chosen(
    registry: ProviderRegistry, language: str, provider: str = "", voice_id: str = ""
) -> tuple[str, str, list[str]]:
    choice = VoiceChoice(provider=provider, voice_id=voice_id)
    chain, warnings = await choose(registry, choice, language, pinned=False, strict=False)
    speaker = await chain.take_next()
    assert speaker is not None
    strange = foreign(speaker)
    told = [*warnings, strange] if strange else warnings
    return speaker.provider.metadata.name, speaker.voice_id, [warning.reason for warning in told]


async def test_who_speaks_the_language_comes_first() -> None:
    """A fallback that speaks it goes before a default that does not."""
    registry = ProviderRegistry("one", ["two"])
    registry.register(NamedVoice("one", faults(languages=["de"])))
    registry.register(NamedVoice("two", faults(languages=["sv"])))

    assert ("two", "two", []) == await _chosen(registry, "sv-FI")
    assert ("one", "one", []) == await _chosen(registry, "de")
    assert ("one", "one", ["LANGUAGE_UNSUPPORTED"]) == await _chosen(registry, "fi")


@pytest.mark.parametrize("strict", [False, True])
async def test_a_provider_that_was_asked_for_is_not_replaced_without_a_word(strict: bool) -> None:
    """The warning names it and who speaks instead; nothing is said where nobody asked for one."""
    registry = ProviderRegistry("two")
    registry.register(NamedVoice("one", faults(languages=["de"])))
    registry.register(NamedVoice("two", faults(languages=["sv"])))
    _, warnings = await choose(registry, VoiceChoice(provider="one", voice_id="one"), "sv", pinned=False, strict=strict)

    assert [("LANGUAGE_UNSUPPORTED", {"language_code": "sv", "provider": "one", "next": "two"})] == [
        (each.reason, dict(each.metadata)) for each in warnings
    ]
    assert ("one", "one", []) == await _chosen(registry, "de", provider="one", voice_id="one")
    assert ("two", "two", []) == await _chosen(registry, "sv")


async def test_a_narration_that_is_resumed_keeps_its_voice_whatever_the_language() -> None:
    """One that speaks it better does not take over in mid-story."""
    registry = ProviderRegistry("two")
    registry.register(NamedVoice("one", faults(languages=["de"])))
    registry.register(NamedVoice("two", faults(languages=["sv"])))
    chain, _ = await choose(registry, VoiceChoice(provider="one"), "sv", pinned=True, strict=False)
    speaker = await chain.take_next()
    assert speaker is not None

    assert "one" == speaker.provider.metadata.name


async def test_a_strict_caller_is_refused_a_language_that_nobody_speaks() -> None:
    """FAILED_PRECONDITION / LANGUAGE_UNSUPPORTED."""
    with pytest.raises(DomainError) as caught:
        await choose(_registry("one"), VoiceChoice(), "fi", pinned=False, strict=True)

    assert (grpc.StatusCode.FAILED_PRECONDITION, "LANGUAGE_UNSUPPORTED") == (caught.value.code, caught.value.reason)


async def test_a_voice_that_was_asked_for_is_for_its_provider_alone() -> None:
    """The one who stands in has a voice of its own, and an unknown voice is not found."""
    registry = _registry("one", "two", unset=("one",))

    assert ("two", "two", ["INVALID_CONFIGURATION"]) == await _chosen(registry, "en", provider="one", voice_id="one")
    with pytest.raises(DomainError, match="VOICE_NOT_FOUND"):
        await _chosen(registry, "en", provider="two", voice_id="nobody")


async def test_the_embedded_voice_says_that_it_stands_in() -> None:
    """With nothing configured at all the caller is told which variables bring a real voice."""
    chain, warnings = await choose(_registry("elevenlabs"), VoiceChoice(), "en", pinned=False, strict=False)
    speaker = await chain.take_next()
    assert speaker is not None

    assert ("offline", ["EMBEDDED_VOICE"]) == (speaker.provider.metadata.name, [each.reason for each in warnings])
    assert "ELEVENLABS_API_KEY" in reason_of(warnings[0].reason).remedy


async def test_a_provider_is_asked_about_its_setup_once_in_a_while() -> None:
    """A good answer holds for a minute, a bad one for five seconds."""
    now, answers = [0.0], ["", "no key", ""]

    class Asked(NamedVoice):
        async def validate_configuration(self) -> str:
            return answers.pop(0)

    availability = Availability(Asked("one"), clock=lambda: now[0])
    seen = []
    for time in (0.0, 59.0, 61.0, 65.0, 67.0):
        now[0] = time
        seen.append(await availability.reason())

    assert ["", "", "no key", "no key", ""] == seen


async def test_those_whose_circuit_is_open_are_passed_over() -> None:
    """With the reason; they stay candidates, since what they said may be stored."""
    registry = ProviderRegistry("one", ["two"], closed_reason=lambda name: "it rests" if name == "one" else "")
    for name in ("one", "two"):
        registry.register(NamedVoice(name))
    chain, candidates = await registry.get_provider_with_fallback(), await registry.candidates()

    assert ["two"] == [each.metadata.name for each in chain.providers]
    assert [("one", "it rests")] == [(each.name, each.reason) for each in chain.skipped]
    assert ["one", "two"] == [each.metadata.name for each in candidates.providers]
    assert {"one"} == candidates.unavailable
    assert ["two"] == [each.metadata.name for each in await registry.list_available_providers()]
    assert ("", "it rests") == (await registry.missing_reason("one"), await registry.unavailable_reason("one"))


async def test_where_all_that_are_set_up_rest_the_embedded_voice_does_not_stand_in() -> None:
    """UNAVAILABLE / NO_PROVIDERS_AVAILABLE with what was passed over and why."""
    registry = ProviderRegistry("one", closed_reason=lambda name: "it rests" if name == "one" else "")
    for name in ("one", "offline"):
        registry.register(NamedVoice(name))
    with pytest.raises(DomainError) as caught:
        await registry.get_provider_with_fallback()

    assert ("NO_PROVIDERS_AVAILABLE", {"one": "it rests"}) == (caught.value.reason, caught.value.metadata)


def _refusal(provider: VoiceProvider) -> CircuitOpenError | None:
    name = provider.metadata.name
    return CircuitOpenError(name, provider=name, retry_after=30.0) if name == "one" else None


async def test_speaker_that_is_not_well_begins_only_where_its_beginning_is_stored() -> None:
    """Each that is not well is looked at in turn, and the one that begins is not asked."""
    registry = ProviderRegistry("one", ["two"], closed_reason=lambda name: "it rests" if name == "one" else "")
    for name in ("one", "two"):
        registry.register(NamedVoice(name))
    for stored, begins, passed in ((False, "two", ["one"]), (True, "one", [])):
        is_stored = AsyncMock(return_value=stored)
        chain, _ = await choose(registry, VoiceChoice(), "en", pinned=False, strict=False)
        speaker, over = await next_speaker(chain, _refusal, is_stored)

        assert speaker is not None
        assert begins == speaker.name
        assert passed == [each.provider for each in over]
        assert ["one"] == [call.args[0].name for call in is_stored.await_args_list]


@pytest.mark.parametrize("name", ["acme:v2", "_local", "a" * 65, "a b"])
def test_provider_with_a_name_that_storage_refuses_is_not_used(name: str) -> None:
    """It is announced at start, before any speech is paid, with the remedy."""
    entry = EntryPoint(name, "no_such_module:make", GROUP)
    (announced,) = load_plugins({}, [entry])

    assert isinstance(announced, Announced)
    assert (name, True) == (announced.name, announced.is_set)
    assert announced.reason.startswith("rename its entry point: ")
