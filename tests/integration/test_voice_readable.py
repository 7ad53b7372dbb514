"""A text that no voice can read is refused before any of it is sent to a provider."""

from collections.abc import AsyncIterator

import grpc
import pytest
from support.servers import running
from support.voice_kit import NamedVoice, Voice, faults, reason_of, settings, voice_service

from servicekit.status import from_rpc_error
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2, voice_pb2_grpc
from voice_service.bootstrap import build

REFUSED = (grpc.StatusCode.FAILED_PRECONDITION, "LANGUAGE_UNSUPPORTED")
KANJI = "昔々、古い樫の木に小さな梟が住んでいました。毎晩、森の皆が家に帰れるように、灯りをともしました。"
KANA = "むかしむかし、ちいさなふくろうがいました。まいばん、あかりをともしました。みんなはしずかにねむりました。"


@pytest.fixture(scope="module")
async def embedded() -> AsyncIterator[Voice]:
    """The service as it is built, with nothing but the embedded voice."""
    chosen = settings(default_provider="offline")
    async with running(build(chosen), settings=chosen, service="voice") as service:
        yield Voice(service)


@pytest.mark.parametrize(
    ("language", "title", "text"),
    [
        ("ja", "ふくろうのあかり", KANJI),
        ("ja", "梟の灯り", KANJI),
        ("", "", KANJI),
        ("en", "The Owl", KANJI),
        ("en", "梟の灯り", KANJI),
        ("th", "The Owl", "กาลครั้งหนึ่งนานมาแล้ว มีสุนัขจิ้งจอกตัวเล็ก"),
        ("he", "", "היה היה פעם שועל קטן ביער. הוא ישן כל היום."),
        ("my", "", "တစ်ခါက တောထဲမှာ မြေခွေးလေးတစ်ကောင် ရှိခဲ့သည်။"),
        ("km", "", "កាលពីព្រេងនាយ មានកញ្ជ្រោងតូចមួយ។"),
        ("bo", "", "སྔོན་ཞིག་ལ་ཝ་ཆུང་ཆུང་ཞིག་ཡོད།"),
        ("de", "Die Eule", "Жила-была маленькая сова, и дом её был в старом дубе."),
    ],
)
async def test_what_the_embedded_voice_cannot_read_is_refused_before_it_is_called(
    embedded: Voice, language: str, title: str, text: str
) -> None:
    """By the language and by the script of the text; the error says what would read it."""
    told = await embedded.tell(text, title=title, language_code=language)

    assert REFUSED == reason_of(told.error)[:2]
    assert [] == told.segments
    assert [] == told.attempts
    assert "ELEVENLABS_API_KEY" in str(told.error)


@pytest.mark.parametrize(
    ("language", "title", "text"),
    [
        ("ja", "ふくろうのあかり", KANA),
        ("en", "The Owl of 美咲", "Once there was a girl called 美咲 (みさき), and she had a small owl. They slept."),
        ("ru", "Сова", "Жила-была маленькая сова. Она читала книгу The Owl и спала."),
        ("en", "Сова", "Жила-была маленькая сова, и дом её был в старом дубе."),
        ("en", "The Owl", "Once there was a girl called שירה, and her friend was called ไทย. They had a small owl."),
        ("am", "", "ከዕለታት አንድ ቀን ትንሽ ቀበሮ በጫካ ውስጥ ነበረች።"),
    ],
)
async def test_what_the_embedded_voice_can_read_is_read(embedded: Voice, language: str, title: str, text: str) -> None:
    """A few letters of another script are no hindrance, and a title in another script chooses the voice."""
    told = await embedded.tell(text, title=title, language_code=language)

    assert told.error is None
    assert told.summary is not None


def _two(first: str, second: str, *, configured: str = "two") -> tuple[NamedVoice, NamedVoice]:
    """Two providers with a language each."""
    return (
        NamedVoice("one", faults(languages=[first], paid=True)),
        NamedVoice(configured, faults(languages=[second], paid=True)),
    )


async def test_a_fallback_that_reads_the_script_speaks_instead() -> None:
    """The provider that was requested cannot, and is not called."""
    one, two = _two("en", "ja")
    async with voice_service(one, two, default_provider="one", provider_fallback=("two",)) as voice:
        told = await voice.tell(KANJI, language_code="ja", voice=common_pb2.VoiceSelection(provider="one"))

    assert told.error is None
    assert {"two"} == {segment.provider for segment in told.segments}
    assert 0 == one.journal.calls
    assert ["LANGUAGE_UNSUPPORTED"] == [each.reason for each in told.warnings]


async def test_the_refusal_names_a_provider_that_would_read_it() -> None:
    """It is configured, but in no order of fallback."""
    one, two = _two("en", "ja")
    async with voice_service(one, two, default_provider="one") as voice:
        told = await voice.tell(KANJI, language_code="ja")

    assert REFUSED == reason_of(told.error)[:2]
    assert "two reads it: request it, or add it to VOICE_PROVIDER_FALLBACK" in str(told.error)
    assert (0, 0) == (one.journal.calls, two.journal.calls)


async def test_a_fallback_that_cannot_read_the_text_never_takes_over() -> None:
    """Its own failure is the reason of the one that can."""
    one = NamedVoice("one", faults({"kind": "invalid_input", "call": 2, "times": None}, languages=["ja"]))
    two = NamedVoice("two", faults(languages=["en"]))
    async with voice_service(one, two, default_provider="one", provider_fallback=("two",)) as voice:
        told = await voice.tell(KANJI, language_code="ja")

    assert "UPSTREAM_REFUSED" == reason_of(told.error)[1]
    assert 0 == two.journal.calls


async def test_a_language_in_letters_that_a_voice_reads_is_read_with_a_warning() -> None:
    """As before: only what cannot be read is refused."""
    one, two = _two("de", "sv")
    async with voice_service(one, two, default_provider="one", provider_fallback=("two",)) as voice:
        told = await voice.tell("Hyvää yötä.", language_code="fi")

    assert told.error is None
    assert ["LANGUAGE_UNSUPPORTED"] == [each.reason for each in told.warnings]


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (voice_pb2.ListProvidersRequest(), {"one", "two"}),
        (voice_pb2.ListProvidersRequest(language_code="en"), {"one"}),
        (voice_pb2.ListProvidersRequest(language_code="ja"), {"two"}),
        (voice_pb2.ListProvidersRequest(language_code="en", text="梟の灯り"), {"two"}),
        (
            voice_pb2.ListProvidersRequest(language_code="ja", voice=common_pb2.VoiceSelection(provider="one")),
            {"two"},
        ),
    ],
)
async def test_list_of_providers_answers_for_a_text(request_: voice_pb2.ListProvidersRequest, names: set[str]) -> None:
    """Those that would read it."""
    one, two = _two("en", "ja")
    async with voice_service(one, two, default_provider="one", provider_fallback=("two",)) as voice:
        stub = voice_pb2_grpc.VoiceServiceStub(voice.service.channel)
        listed = await stub.ListProviders(request_, timeout=5)

    found = {each.provider_name for each in listed.providers}
    assert names == found & {"one", "two"}


async def test_list_of_providers_refuses_a_text_that_none_reads() -> None:
    """As a narration of it is refused."""
    one, two = _two("en", "ja")
    async with voice_service(one, two, default_provider="one", provider_fallback=("two",)) as voice:
        stub = voice_pb2_grpc.VoiceServiceStub(voice.service.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListProviders(voice_pb2.ListProvidersRequest(language_code="th"), timeout=5)

    assert "LANGUAGE_UNSUPPORTED" == from_rpc_error(caught.value).reason
