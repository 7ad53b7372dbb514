"""Which voice suits a language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voice_service.elevenlabs.config import RACHEL
from voice_service.elevenlabs.languages import bare, named, names_in, tag
from voice_service.ports import VoiceInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from elevenlabs.types import Voice

_LABELS: Final = ("language", "languages", "locale")
_GENDERS: Final = ("female", "male")


@dataclass(frozen=True, slots=True)
class Verified:
    """A language that a voice was tried in, with the model that spoke it; `locale` may be empty."""

    language: str
    locale: str
    model_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedVoice:
    """A voice as ElevenLabs lists it; languages are bare codes, from the surest source to the least sure."""

    voice_id: str
    name: str
    gender: str = ""
    verified: tuple[Verified, ...] = ()
    labelled: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    def info(self) -> VoiceInfo:
        """Return the voice as callers see it, with the languages that it is known to speak."""
        codes = (*(each.locale or each.language for each in self.verified), *self.labelled, *self.named)
        return VoiceInfo(
            voice_id=self.voice_id,
            display_name=self.name,
            language_codes=tuple(dict.fromkeys(codes)),
            gender=self.gender,
        )


def listed_voice(voice: Voice) -> ListedVoice:
    """Return what matters of a voice. The SDK has checked nothing but that it has an id."""
    labels = voice.labels if isinstance(voice.labels, dict) else {}
    gender = _text(labels.get("gender")).lower()
    verified = tuple(
        Verified(
            bare(_text(getattr(each, "language", ""))),
            tag(_text(getattr(each, "locale", ""))),
            _text(getattr(each, "model_id", "")),
        )
        for each in _list(voice.verified_languages)
        if _text(getattr(each, "language", ""))
    )
    labelled = _codes(_text(labels.get(key)) for key in _LABELS)
    if voice.voice_id == RACHEL and not verified and not labelled:
        labelled = ("en",)  # an older voice, whose language no label tells
    name = _text(voice.name)
    return ListedVoice(
        voice_id=voice.voice_id,
        name=name or voice.voice_id,
        gender=gender if gender in _GENDERS else "",
        verified=verified,
        labelled=labelled,
        named=names_in(name),
    )


def speaking(
    voices: Sequence[ListedVoice], language_code: str, *, model_id: str, default_voice: str
) -> list[ListedVoice]:
    """Return the voices that suit `language_code` (BCP-47), the best first.

    Those verified in the language come first (with this model and in this region before others), then those with a
    label that says the language, then those whose name does; among equals the default voice, then as listed.
    """
    ranked = []
    for place, voice in enumerate(voices):
        rank = _rank(voice, language_code, model_id)
        if rank is not None:
            ranked.append((rank, voice.voice_id != default_voice, place, voice))
    return [voice for *_, voice in sorted(ranked, key=lambda entry: entry[:3])]


def choose_voice(voices: Sequence[ListedVoice], language_code: str, *, model_id: str, default_voice: str) -> str:
    """Return the id of the voice that suits `language_code` best; the default where none does."""
    fitting = speaking(voices, language_code, model_id=model_id, default_voice=default_voice)
    return fitting[0].voice_id if fitting else default_voice


def _rank(voice: ListedVoice, language_code: str, model_id: str) -> tuple[int, bool, bool] | None:
    wanted, region = bare(language_code), tag(language_code)
    verified = [
        (0, "-" in region and each.locale != region, each.model_id != model_id)
        for each in voice.verified
        if each.language == wanted
    ]
    if verified:
        return min(verified)
    if wanted in voice.labelled:
        return (1, False, False)
    return (2, False, False) if wanted in voice.named else None


def _codes(values: Iterable[str]) -> tuple[str, ...]:
    codes = (named(part) for value in values for part in value.replace(";", ",").split(","))
    return tuple(dict.fromkeys(code for code in codes if code is not None))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
