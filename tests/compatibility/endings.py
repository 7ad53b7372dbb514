"""Ends: a story that is whole, breaks off, is refused, repeats itself or has another language."""

from typing import Final

from support.openrouter_fake import DONE, Answer, Call, Cut, Finish, pieces, story, stream
from support.story_languages import IN_OTHER_LANGUAGES
from support.story_models import TEXT, TITLE, WHOLE, joined, rest, told_before

from compatibility.harness import Case
from story_service.answer.titles import fallback_ending

_NEARLY: Final = joined(14)
_GOOD_NIGHT: Final = f"\n\n{fallback_ending('en')}"
_MISSING: Final = "READY, ENDING_MISSING"
_SHORTER: Final = "READY, SHORTER_THAN_ASKED"


def _ends(text: str, reason: str | None, *, done: bool = True) -> Answer:
    finish = () if reason is None else (Finish(reason),)
    return stream(*pieces(text), *finish, *((DONE,) if done else ()))


def _breaks_off(call: Call) -> Answer:
    told = told_before(call)
    begun = f"{TITLE}\n\n{joined(7)}" if not told else joined(12)[len(joined(told)) :].lstrip(" ")
    return _ends(f"{begun} And then the", "stop")


def _piece_by_piece(call: Call) -> Answer:
    """Two sentences more, and the maximum of tokens is reached."""
    told = told_before(call)
    begin = "" if told else f"{TITLE}\n\n"
    return _ends(begin + joined(told + 2)[len(joined(told)) :].lstrip(" "), "length")


_ENDLESS: Final = [f"Then number {number} came and brought a friend along." for number in range(200)]
_SENTENCES_OF_REFRAIN: Final = (
    "Mia lay down in her bed.",
    *["Hush now, little one, hush now."] * 5,
    "The moon looked in and smiled at her.",
    *["Hush now, little one, hush now."] * 4,
    "The wind grew quiet, and the stars came out one by one above the old house.",
    "And Mia slept until the morning came.",
)
_REFRAIN: Final = " ".join(_SENTENCES_OF_REFRAIN)
_HOUSE: Final = (
    "house that Jack built",
    "malt that lay in the",
    "rat that ate the",
    "cat that killed the",
    "dog that worried the",
    "cow with the crumpled horn that tossed the",
)
_CUMULATIVE: Final = "\n\n".join(f"This is the {' '.join(reversed(_HOUSE[: n + 1]))}." for n in range(len(_HOUSE)))

CASES: Final[tuple[Case, ...]] = (
    Case(
        kind="Stories that break off",
        sends="a connection that breaks in mid-story, then the rest",
        answers=[stream(*pieces(f"{TITLE}\n\n{joined(9)}"), Cut()), story(rest(joined(8)))],
        calls=2,
    ),
    *(
        Case(
            kind="Stories that break off",
            sends=f'the whole story, then `finish_reason` "{reason}"',
            answers=[_ends(WHOLE, reason)],
            calls=1,
        )
        for reason in ("length", "content_filter")
    ),
    Case(
        kind="Stories that break off",
        sends='a story that breaks off inside a sentence with `finish_reason` "stop", then its ending',
        answers=[_ends(f"{TITLE}\n\n{_NEARLY} The owl thanked the", "stop"), story(rest(_NEARLY))],
        calls=2,
    ),
    Case(
        kind="Stories that break off",
        sends='a story that breaks off inside a sentence with `finish_reason` "stop", to every call',
        answers=[_ends(f"{TITLE}\n\n{_NEARLY} The owl thanked the", "stop")],
        calls=2,
        outcome=_MISSING,
        text=_NEARLY + _GOOD_NIGHT,
    ),
    Case(
        kind="Stories that break off",
        sends='half a story that breaks off with `finish_reason` "stop", and more of it that breaks off too',
        answers=_breaks_off,
        calls=3,
        outcome=f"{_MISSING}, SHORTER_THAN_ASKED",
        text=joined(12) + _GOOD_NIGHT,
    ),
    Case(
        kind="Stories that break off",
        sends="a story whose stream just ends after a whole sentence, then its ending",
        answers=[_ends(f"{TITLE}\n\n{_NEARLY}", None, done=False), story(rest(_NEARLY))],
        calls=2,
    ),
    Case(
        kind="Stories that break off",
        sends="the whole story, and a stream that just ends, to every call",
        answers=[_ends(WHOLE, None, done=False)],
        calls=2,
        outcome=_MISSING,
        text=TEXT + _GOOD_NIGHT,
    ),
    Case(
        kind="Lengths",
        sends='two sentences and `finish_reason` "length", to every call',
        answers=_piece_by_piece,
        calls=7,
        text=joined(14),
    ),
    Case(
        kind="Lengths",
        sends="a story of ten times the words that were requested",
        answers=[story(f"{TITLE}\n\n{' '.join(_ENDLESS)}")],
        calls=2,
        outcome=_MISSING,
        text=" ".join(_ENDLESS[: 150 // 9]) + _GOOD_NIGHT,
    ),
    Case(
        kind="Refusals",
        sends="“I'm sorry, but I can't help with that request.”",
        answers=[story("I'm sorry, but I can't help with that request.")],
        calls=1,
        outcome="CONTENT_REFUSED",
    ),
    *(
        Case(
            kind="Refusals",
            sends=f"a refusal in {name}, for a story of {minutes} min",
            answers=[story(refusal)],
            calls=1,
            outcome="CONTENT_REFUSED",
            request={"language_code": code, "length_minutes": minutes},
        )
        for name, code, refusal, minutes in (
            ("German", "de", "Es tut mir leid, aber diese Geschichte kann ich nicht schreiben.", 1),
            ("Russian", "ru", "Извините, но я не могу написать такую сказку.", 5),
            ("Spanish", "es", "Lo siento, pero no puedo escribir esa historia.", 1),
            ("Japanese", "ja", "申し訳ありませんが、そのご要望にはお応えできません。", 10),
            ("Arabic", "ar", "عذراً، لا يمكنني كتابة هذه القصة.", 1),
        )
    ),
    Case(
        kind="Refusals",
        sends="a title, and a refusal behind it",
        answers=[story(f"# {TITLE}\n\nI'm sorry, but I can't write a story about this topic.")],
        calls=1,
        outcome="CONTENT_REFUSED",
    ),
    Case(
        kind="Refusals",
        sends="an offer to write something else, and no story",
        answers=[story("I can't write about that. I'd be happy to write a different story instead!")],
        calls=1,
        outcome="CONTENT_REFUSED",
    ),
    Case(
        kind="Refusals",
        sends="a story in which an owl says that it cannot help",
        answers=[story(f"{TITLE}\n\n“I'm sorry, but I can't help you with that,” said the owl. {joined(12)}")],
        calls=1,
        text=f"“I'm sorry, but I can't help you with that,” said the owl. {joined(12)}",
    ),
    Case(
        kind="Languages",
        sends="a story in English, to every call for one in German",
        answers=[story(WHOLE)],
        calls=2,
        outcome="WRONG_LANGUAGE",
        request={"language_code": "de"},
        says="'en'",
    ),
    Case(
        kind="Languages",
        sends="a story in English for one in Japanese, then a Japanese one",
        answers=[story(WHOLE), story(IN_OTHER_LANGUAGES["ja"])],
        calls=3,
        outcome=_SHORTER,
        request={"language_code": "ja"},
        title=IN_OTHER_LANGUAGES["ja"].partition("\n\n")[0],
        text=IN_OTHER_LANGUAGES["ja"].partition("\n\n")[2],
    ),
    *(
        Case(
            kind="Languages",
            sends=f"a short story in the requested language, `{code}`",
            answers=[story(text)],
            calls=2,
            outcome=_SHORTER,
            title=text.partition("\n\n")[0],
            text=text.partition("\n\n")[2],
            request={"language_code": code},
        )
        for code, text in IN_OTHER_LANGUAGES.items()
    ),
    Case(
        kind="Repetition",
        sends="a lullaby with a refrain of one line, five times in a row",
        answers=[story(f"{TITLE}\n\n{_REFRAIN}")],
        calls=2,
        outcome=_SHORTER,
        text=_REFRAIN,
    ),
    Case(
        kind="Repetition",
        sends="a cumulative tale",
        answers=[story(f"{TITLE}\n\n{_CUMULATIVE}")],
        calls=2,
        outcome=_SHORTER,
        text=_CUMULATIVE,
    ),
    Case(
        kind="Repetition",
        sends="one sentence again and again, then the story",
        answers=[story(f"{TITLE}\n\n{joined(4)}" + " The owl was very quiet." * 60), story(rest(joined(4)))],
        calls=2,
        text=TEXT.replace(joined(4), f"{joined(4)} The owl was very quiet.", 1),
    ),
    *(
        Case(
            kind="Stories that break off",
            sends=f"eight sentences, then `{words}` as if it were text, then the rest",
            answers=[_ends(f"{TITLE}\n\n{joined(8)}\n\n{words}", "stop"), story(rest(joined(8)))],
            calls=2,
        )
        for words in (
            "An error occurred: upstream timed out.",
            "[Error: the connection to the model was lost.]",
            "Internal Server Error.",
        )
    ),
)
