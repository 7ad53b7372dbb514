"""The writer: a brief decides the whole story, so that any prefix of it can be continued exactly."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import accumulate

from offline_writer.brief import (
    WORDS_PER_MINUTE,
    LanguageUnsupported,
    OfflineBrief,
    Piece,
    Plan,
    Scene,
    StoryUnsupported,
    random_for,
)
from offline_writer.english.language import English
from offline_writer.fitting import Arc, Fitted, Language, count_words, fit, sentence_keys
from offline_writer.russian.language import Russian

_REMEMBERED = 8
"""Stories of the last briefs."""
_SENTENCE_ENDS = (".", "!", "?", "\u2026", ":", '"', "\u201d", "\u2019", "\u00bb", ")")

_SPEECH = "\u2014 "


@dataclass(frozen=True, slots=True)
class _Text:
    """Text in pieces, each with its separator in front."""

    pieces: tuple[str, ...]

    @property
    def whole(self) -> str:
        return "".join(self.pieces)

    def after(self, offset: int) -> Iterator[str]:
        """What comes after the first `offset` characters; the first piece may be the rest of a sentence."""
        for end, piece in zip(accumulate(map(len, self.pieces)), self.pieces, strict=True):
            if end > offset:
                yield piece[-(end - offset) :] if end - offset < len(piece) else piece


def _laid_out(paragraphs: list[list[str]], *, opening: str = "") -> _Text:
    pieces: list[str] = []
    for paragraph in paragraphs:
        before = ""
        for unit in paragraph:
            # Who answers somebody, or speaks after a unit of several paragraphs, begins a new one;
            # where speech stands after a dash, its paragraph holds nothing else.
            dashed = unit.startswith(_SPEECH) or before.startswith(_SPEECH)
            answers = unit.startswith("\u201c") and "\u201d" in before
            breaks = not before or dashed or answers or "\n\n" in before
            pieces.append(("\n\n" if breaks else " ") + unit)
            before = unit
    if pieces:
        pieces[0] = opening + pieces[0].lstrip()
    return _Text(tuple(pieces))


@cache
def _all_languages() -> tuple[Language, ...]:
    """Returns all languages: to read their stocks takes half a second, and they do not change."""
    return English(), Russian()


class OfflineWriter:
    """Writes stories from a stock of prose. Pure computation, a few milliseconds a story; no state but the stock."""

    def __init__(self, languages: Iterable[Language] | None = None) -> None:
        """Uses all languages, or those given."""
        known = _all_languages() if languages is None else languages
        self._languages: dict[str, Language] = {language.code: language for language in known}
        # Once for the plan, and once for the text.
        self._fitted = lru_cache(_REMEMBERED)(self._fit)

    @property
    def languages(self) -> tuple[str, ...]:
        """BCP-47 primary subtags of the supported languages."""
        return tuple(self._languages)

    def plan(self, brief: OfflineBrief) -> Plan:
        """Returns what `write` tells for this brief.

        With that outline in the brief, `write` tells it again, whatever the child has heard meanwhile. Raises
        LanguageUnsupported or StoryUnsupported.
        """
        language = self._language(brief)
        arc, fitted = self._fitted(language.code, brief)
        scenes = tuple(Scene(key=key) for key in fitted.scenes)
        return Plan(replace(arc.outline, title=language.title(brief), scenes=scenes), arc.understood)

    def write(self, brief: OfflineBrief, *, title_so_far: str = "", written_so_far: str = "") -> Iterator[Piece]:
        """Yields the title, unless there is one already, and then the text that `written_so_far` still lacks.

        `written_so_far` together with every text piece is the content. Where it is a prefix of this writer's own story
        (or of its own continuation of other text) the result is the same as that of an undisturbed run; other text is
        brought to a calm end. Raises LanguageUnsupported or StoryUnsupported before anything is written.
        """
        return self._pieces(self._language(brief), brief, title_so_far, written_so_far)

    def _language(self, brief: OfflineBrief) -> Language:
        language = self._languages.get(brief.language_code.replace("_", "-").split("-")[0].casefold())
        if language is None:
            raise LanguageUnsupported(self.languages)
        if missing := brief.features - language.features:
            raise StoryUnsupported(language.code, missing, language.features)
        return language

    def _pieces(self, language: Language, brief: OfflineBrief, title: str, written: str) -> Iterator[Piece]:
        if not title.strip():
            yield Piece("title", language.title(brief))
        for text in self._rest(language, brief, written):
            yield Piece("text", text)

    def _rest(self, language: Language, brief: OfflineBrief, written: str) -> Iterator[str]:
        story = _laid_out(self._fitted(language.code, brief)[1].paragraphs)
        trimmed = written.rstrip()
        if story.whole.startswith(written):
            return story.after(len(written))
        if story.whole.startswith(trimmed):
            return _without_space(story.after(len(trimmed)))
        for offset in _continuation_starts(language, brief, written):
            continued = self._continuation(language, brief, written[:offset])
            if continued.whole.startswith(written[offset:]):
                return continued.after(len(written) - offset)
        return self._continuation(language, brief, written).after(0)

    def _fit(self, language_code: str, brief: OfflineBrief) -> tuple[Arc, Fitted]:
        arc = self._languages[language_code].story(brief)
        return arc, fit(arc, brief.length_minutes * WORDS_PER_MINUTE, random_for(brief, "fit"))

    def _continuation(self, language: Language, brief: OfflineBrief, written: str) -> _Text:
        begun = _without_separator(written)
        purpose = f"continuation {begun}"
        budget = brief.length_minutes * WORDS_PER_MINUTE - count_words(written)
        arc = language.continuation(brief, told=begun, budget=budget)
        told = frozenset(sentence_keys(begun))
        fitted = fit(arc, max(budget, 0), random_for(brief, "fit " + purpose), told=told, even_core=True)
        return _laid_out(fitted.paragraphs, opening=_separator(written))


def _without_separator(written: str) -> str:
    """Returns the same for a text and for that text with a separator behind it."""
    return written.rstrip().rstrip("\u2026")


def _separator(written: str) -> str:
    """Returns what separates the given text from its continuation; a hanging sentence trails off first."""
    text = written.rstrip()
    if not text:
        return ""
    breaks = len(written) - len(written.rstrip("\n"))
    return ("" if text.endswith(_SENTENCE_ENDS) else "\u2026") + "\n\n"[min(breaks, 2) :]


def _without_space(pieces: Iterator[str]) -> Iterator[str]:
    first = next(pieces, "").lstrip()
    if first:
        yield first
    yield from pieces


def _continuation_starts(language: Language, brief: OfflineBrief, written: str) -> Iterator[int]:
    """Yields where in the text an own continuation may have begun, the last first."""
    for bridge in language.bridges(brief):
        at = written.rfind(bridge)
        if at > 0:
            body = written[:at].rstrip("\n")
            for end in (len(body), len(body.removesuffix("\u2026")), len(body) + 1, at):
                if end <= at:
                    yield end
