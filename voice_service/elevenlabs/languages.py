"""Languages as ElevenLabs names them."""

from __future__ import annotations

import re
from typing import Final

# fmt: off
MULTILINGUAL_V2: Final = (
    "en", "ja", "zh", "de", "hi", "fr", "ko", "pt", "it", "es", "id", "nl", "tr", "fil", "pl", "sv", "bg", "ro", "ar",
    "cs", "el", "fi", "hr", "ms", "sk", "da", "ta", "uk", "ru",
)
FLASH_V2_5: Final = (*MULTILINGUAL_V2, "hu", "no", "vi")
V3: Final = (
    *FLASH_V2_5,
    "af", "hy", "as", "az", "be", "bn", "bs", "ca", "ceb", "ny", "et", "gl", "ka", "gu", "ha", "he", "is", "ga", "jv",
    "kn", "kk", "ky", "lv", "ln", "lt", "lb", "mk", "ml", "mr", "ne", "ps", "fa", "pa", "sr", "sd", "sl", "so", "sw",
    "te", "th", "ur", "cy",
)
# fmt: on
ENGLISH: Final = ("en",)

_ALIASES: Final = {"nb": "no", "nn": "no", "tl": "fil", "iw": "he", "in": "id", "cmn": "zh"}
_NAMES: Final = {
    "ar": ("Arabic", "العربية"),
    "bg": ("Bulgarian", "Български"),
    "cs": ("Czech", "Čeština"),
    "da": ("Danish", "Dansk"),
    "de": ("German", "Deutsch"),
    "el": ("Greek", "Ελληνικά"),
    "en": ("English",),
    "es": ("Spanish", "Español"),
    "fi": ("Finnish", "Suomi"),
    "fil": ("Filipino",),
    "fr": ("French", "Français"),
    "he": ("Hebrew", "עברית"),
    "hi": ("Hindi", "हिन्दी"),
    "hr": ("Croatian", "Hrvatski"),
    "hu": ("Hungarian", "Magyar"),
    "id": ("Indonesian",),
    "it": ("Italian", "Italiano"),
    "ja": ("Japanese", "日本語"),
    "ko": ("Korean", "한국어"),
    "ms": ("Malay",),
    "nl": ("Dutch", "Nederlands"),
    "no": ("Norwegian", "Norsk"),
    "pl": ("Polish", "Polski"),
    "pt": ("Portuguese", "Português"),
    "ro": ("Romanian", "Română"),
    "ru": ("Russian", "Русский"),
    "sk": ("Slovak", "Slovenčina"),
    "sv": ("Swedish", "Svenska"),
    "ta": ("Tamil",),
    "th": ("Thai",),
    "tr": ("Turkish", "Türkçe"),
    "uk": ("Ukrainian", "Українська"),
    "vi": ("Vietnamese",),
    "zh": ("Chinese", "Mandarin", "中文"),
}
_CODES: Final = {name.casefold(): code for code, names in _NAMES.items() for name in names}
_WORD: Final = re.compile(r"[^\W\d_]+")


def bare(language_code: str) -> str:
    """Return the language of a BCP-47 code as ElevenLabs writes it: "pt" of "pt-BR", "no" of "nb-NO"."""
    first = language_code.replace("_", "-").partition("-")[0].lower()
    return _ALIASES.get(first, first)


def with_aliases(languages: tuple[str, ...]) -> tuple[str, ...]:
    """Return the languages with the other codes that callers may call them by: "nb" and "nn" beside "no"."""
    return (*languages, *(alias for alias, code in _ALIASES.items() if code in languages))


def tag(code: str) -> str:
    """Return a code as BCP-47 has it: "pt-BR" of "pt_br"; one without a region as it is, "" of ""."""
    first, _, rest = code.replace("_", "-").partition("-")
    region = rest.partition("-")[0]
    return f"{bare(first)}-{region.upper() if len(region) == 2 else region.title()}" if region else bare(first)


def named(value: str) -> str | None:
    """Return the code of a language that is written as a code or as a name, whole: "de" of "German" or of "de"."""
    known = _CODES.get(value.strip().casefold())
    if known is not None:
        return known
    code = bare(value.strip())
    return code if code in V3 else None


def names_in(text: str) -> tuple[str, ...]:
    """Return the codes of the languages whose names stand in `text` as words of their own."""
    found = (_CODES.get(word.casefold()) for word in _WORD.findall(text))
    return tuple(dict.fromkeys(code for code in found if code is not None))
