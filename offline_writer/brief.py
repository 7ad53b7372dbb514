"""Input and output of the embedded writer; user text is cleaned to one bounded line without markup."""

import hashlib
import json
import random
import re
import unicodedata
from dataclasses import asdict, dataclass, fields
from typing import Final, Literal, TypeAlias

WORDS_PER_MINUTE: Final = 150
"""Words of a minute of reading aloud."""

Gender: TypeAlias = Literal["female", "male", ""]
"""Grammatical gender of a person; empty: the story avoids it."""
Kind: TypeAlias = Literal["child", "hero", "combined"]
"""Main characters: the child, a hero, or both."""

Feature: TypeAlias = Literal["hero", "combined", "sequel"]
"""What a language may support beside a story about the child."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protagonist:
    """The hero of a story."""

    name: str
    gender: Gender = ""
    appearance: str = ""
    personality_traits: tuple[str, ...] = ()
    strengths: tuple[str, ...] = ()
    interests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The story that this one continues. Either may be empty, but not both."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One scene of an outline. Each part may be empty."""

    purpose: str = ""
    """What happens in it and what for, in one sentence."""
    words: int = 0
    """Its share of the words; 0: not planned."""
    key: str = ""
    """Key of the scene in the stock."""
    end: int = 0
    """Code points of the content at its end; 0: not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The plan of a story. Each part may be empty."""

    title: str = ""
    setting: str = ""
    """Where it takes place."""
    companion: str = ""
    """Who goes along with the main character."""
    plot_shape: str = ""
    """Key of the plot's shape."""
    mood: str = ""
    gift: str = ""
    """What the main character has at the end: a thing, or something learned."""
    scenes: tuple[Scene, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineBrief:
    """One requested story. All text is untrusted and is cleaned before it reaches a sentence."""

    name: str
    """The child's name."""
    age: int | None = None
    """Years. None: the story does not mention it."""
    gender: Gender
    interests: tuple[str, ...]
    """Any phrases; the first five are used."""
    wish: str
    """Free text: "a story about a dragon who cannot sleep", "to find the moon". Empty: the writer picks one."""
    moral: str
    """One of the well-known morals, or free text. Empty: the writer picks one."""
    theme: str
    """A theme the language knows, or free text. Empty: the writer picks one."""
    language_code: str
    """BCP-47; its primary subtag decides."""
    length_minutes: int
    """1 to 30, at 150 words a minute."""
    seed: int
    """The same brief with the same seed gives the same story, on every machine."""
    kind: Kind = "child"
    hero: Protagonist | None = None
    """Required for "hero" and "combined", ignored otherwise."""
    sequel: Parent | None = None
    heard: tuple[Outline, ...] = ()
    """Outlines of the stories that this child heard last, newest first."""
    avoid: tuple[str, ...] = ()
    """Words and phrases that must not appear."""
    audience_note: str = ""
    """Facts about the listener for the writer alone."""
    outline: Outline | None = None
    """The plan of this story, where an earlier call has made one."""

    def __post_init__(self) -> None:
        """Raises ValueError where a hero is needed and missing."""
        if self.kind != "child" and self.hero is None:
            msg = f"a story of the kind {self.kind} needs a hero"
            raise ValueError(msg)

    @property
    def features(self) -> frozenset[Feature]:
        """What a language must support for this brief."""
        kind: frozenset[Feature] = frozenset() if self.kind == "child" else frozenset({self.kind})
        return kind if self.sequel is None else kind | {"sequel"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a story: the title, or whole sentences of the text.

    Joining every text piece gives the content. What separates a piece from the one before (a space, or a blank line
    between paragraphs) is at its start, so that no piece ends in white space.
    """

    kind: Literal["title", "text"]
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the writer is going to tell."""

    outline: Outline
    """Its scenes have the keys with which a brief with this outline gives the same story."""
    understood: bool
    """Whether the wish is told; else the story is one of the stock and has nothing of its words."""


class LanguageUnsupported(ValueError):  # noqa: N818 - named as the wire's reason, LANGUAGE_UNSUPPORTED
    """The embedded writer has no stock of prose in that language."""

    def __init__(self, supported: tuple[str, ...]) -> None:
        super().__init__(f"the embedded writer can write in: {', '.join(supported)}")
        self.supported = supported


class StoryUnsupported(ValueError):  # noqa: N818 - named like LanguageUnsupported
    """The language is supported, but not this kind of story in it."""

    def __init__(self, language: str, missing: frozenset[Feature], supported: frozenset[Feature]) -> None:
        told = ", ".join(sorted(supported)) or "stories about the child alone"
        super().__init__(f"the embedded writer cannot write {', '.join(sorted(missing))} in {language}, only {told}")
        self.language = language
        self.missing = missing
        self.supported = supported


def random_for(brief: OfflineBrief, purpose: str) -> random.Random:
    """Returns randomness seeded by sha256 of the canonical brief and the purpose, the same in every process.

    Fields at their defaults do not count, so that a story stays the same when briefs get new fields; nor does what may
    differ between two attempts at one story.
    """
    given = {field.name: getattr(brief, field.name) for field in fields(brief)}
    told = {field.name for field in fields(brief) if given[field.name] != field.default} - {"heard", "outline"}
    canonical = json.dumps(
        [purpose, {name: value for name, value in asdict(brief).items() if name in told}],
        sort_keys=True, ensure_ascii=True,
    )  # fmt: skip
    return random.Random(hashlib.sha256(canonical.encode()).digest())


_MARKUP = re.compile(r"<[^<>]*>|[{}\[\]<>|*_#`~^\\=\"\u201c\u201d\u201e\u00ab\u00bb\u2028\u2029]")
_DROPPED = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs", "So", "Sk"})
_SPACES = re.compile(r"\s+")
_BEFORE_STOP = re.compile(r"\s+([,.;:!?\u2026])")
_DOTS = re.compile(r"\.{2,}")
_APOSTROPHES = str.maketrans({"'": "\u2019", "\u2018": "\u2019", "\u201b": "\u2019", "\u02bc": "\u2019"})
_TRAILING = " ,.;:!?\u2026-/&+"


def clean(text: str, *, limit: int) -> str:
    """Returns one line of at most `limit` characters, cut at a word, without final punctuation. May be empty."""
    text = unicodedata.normalize("NFC", text[: limit * 8])
    text = "".join(" " if unicodedata.category(char) in _DROPPED else char for char in text)
    text = _MARKUP.sub(" ", text).translate(_APOSTROPHES)
    text = _DOTS.sub("\u2026", _BEFORE_STOP.sub(r"\1", _SPACES.sub(" ", text))).strip().lstrip(_TRAILING)
    if len(text) > limit:
        head = text[: limit + 1]
        text = head[: head.rfind(" ")] if " " in head else text[:limit]
    return text.rstrip(_TRAILING)


def closed(text: str, *, limit: int) -> str:
    """Returns the text like `clean`, but ended as a sentence: with its own ! or ?, else with a full stop."""
    body = clean(text, limit=limit)
    last = text.rstrip()[-1:]
    return body + (last if last in {"!", "?"} else ".") if body else ""


def clean_name(text: str, *, limit: int = 40) -> str:
    """Returns a name with letters, marks, digits, inner hyphens and apostrophes, and a capital first letter."""
    kept = "".join(
        char if unicodedata.category(char)[0] in "LMN" or char in " -\u2019" else " "
        for char in clean(text, limit=limit)
    )
    name = _SPACES.sub(" ", kept).strip(" -\u2019")
    capital = name[:1].upper()
    return (capital if len(capital) == 1 else name[:1]) + name[1:]
