"""Answers as models stream them, dressed in every way, and what is left of them."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from story_service.answer.reader import AnswerItem, AnswerReader, ReadAnswer
from story_service.answer.sentences import MAX_HELD
from story_service.answer.titles import normalise_title
from story_service.ports import AttemptText, AttemptTitle

_STORY = (
    "Mia and the Sea\n\n"
    "Once upon a time, Mia met Mr. Bear at 3 p.m. by the sea. “Hello! Who are you?” she asked. He only smiled.\n\n"
    "Then they slept.\n"
)
_SENTENCES = [
    "Once upon a time, Mia met Mr. Bear at 3 p.m. by the sea.",
    " “Hello! Who are you?” she asked.",
    " He only smiled.",
    "\n\nThen they slept.",
]


def _read(
    answer: str,
    *,
    cuts: Sequence[int] = (),
    title_wanted: bool = True,
    words_asked: int | None = None,
    language_code: str = "en",
) -> tuple[list[AnswerItem], ReadAnswer]:
    """All items of an answer that comes in pieces, cut at `cuts`, and the end of it."""
    reader = AnswerReader(title_wanted, language_code=language_code, words_asked=words_asked)
    bounds = [0, *sorted(cut % (len(answer) + 1) for cut in cuts), len(answer)]
    items = [item for start, end in itertools.pairwise(bounds) for item in reader.feed(answer[start:end])]
    end = reader.finish()
    return [*items, *end.items], end


def _text(answer: str) -> str:
    return _read(answer)[1].text


def test_answer_is_a_title_and_sentences() -> None:
    """The title line, and each sentence with the white space before it."""
    items, answer = _read(_STORY)

    assert [AttemptTitle("Mia and the Sea"), *map(AttemptText, _SENTENCES)] == items
    assert "".join(_SENTENCES) == answer.text


_PIECES = st.lists(
    st.sampled_from(
        [
            "Mia slept. ",
            "Mr. Bear said: ",
            "“Good night.",
            "” ",
            "\n",
            "\n\n",
            "\r\n",
            "\r",
            "===",
            "=",
            "---\n",
            "***",
            "*",
            "**",
            "_",
            "# ",
            "## Mia\n",
            "```\n",
            "Summary: ",
            "**Summary:**",
            "Summ",
            "Short summary of ",
            "the very long and winding ",
            "story: ",
            "Кратк",
            "Краткое содержание:",
            "Он жил в г. Москве. ",  # noqa: RUF001 - Russian
            "<think>",
            "</think>",
            "<th",
            "ink>",
            "<",
            "Sure! Here is a story:\n",
            "…",
            "?! ",
            "。",
            "> ",
            " ",
            "\ud83d",
            "\ude00",
            "\u200b",
            "x" * 70,
            "**Emma** laughed. *Whoosh!* went ",
            "— Раз * два, 5 > 3! ",
            "===<think>hm</think>=",
            "= = =\n",
            "\uff1d\uff1d\uff1d\n",
            "--- \n",
            "Итог: сто звёзд.\n",
            "Zusammenfassung der ",
            "故事摘要：",  # noqa: RUF001 - Chinese
            "[Summary: ",
            "I hope Mia enjoys this story!\n",
            "Let me know if ",
            "Gerne! Hier ist sie:\n",
            "Here is the rest of the story:\n",
            "<data>",
            "<br",
            " />",
            "</p>",
            "\ufeff",
            "word " * 60,
        ]
    )
    | st.text(max_size=12),
    max_size=40,
)


@example(
    pieces=[*["Mia slept. "] * 10, "</think>", "Mia slept. ", "</think>"], cuts=[], title_wanted=False, words_asked=None
)
@example(
    pieces=["T\n\n", "— Смотри, — сказала Аня и показала на звёзды над тёмным лесом, — там 5 > 3 и * горит ярко!"],
    cuts=[],
    title_wanted=True,
    words_asked=None,
)
@example(
    pieces=["T\n\n", "*Whoosh* went the wind across the wide valley where the little owl lived with her family."],
    cuts=[],
    title_wanted=True,
    words_asked=None,
)
@example(pieces=["T\n\nMia. ", "===<think>hm</think>=\n", "They slept."], cuts=[], title_wanted=True, words_asked=9)
@given(
    pieces=_PIECES,
    cuts=st.lists(st.integers(0, 4_000), max_size=30),
    title_wanted=st.booleans(),
    words_asked=st.sampled_from([None, 5, 100, 1_000]),
)
def test_it_does_not_matter_how_an_answer_is_cut(
    pieces: list[str], cuts: list[int], *, title_wanted: bool, words_asked: int | None
) -> None:
    """Any chopping of one answer gives the same items and text."""
    answer = "".join(pieces)
    items, end = _read(answer, cuts=cuts, title_wanted=title_wanted, words_asked=words_asked)
    whole_items, whole = _read(answer, title_wanted=title_wanted, words_asked=words_asked)
    single_items, single = _read(answer, cuts=range(len(answer)), title_wanted=title_wanted, words_asked=words_asked)

    assert whole_items == items == single_items
    assert whole.text == end.text == single.text


@given(pieces=_PIECES, title_wanted=st.booleans())
def test_items_joined_are_the_text(pieces: list[str], *, title_wanted: bool) -> None:
    """Nothing given is taken back; no text has white space around it, control characters or asterisks."""
    items, answer = _read("".join(pieces), title_wanted=title_wanted)
    texts = [item.text for item in items if isinstance(item, AttemptText)]

    assert answer.text == "".join(texts)
    assert all(texts)
    assert answer.text == answer.text.strip()
    assert not set(answer.text) & set("*_`\r\x00\t")
    assert len([item for item in items if isinstance(item, AttemptTitle)]) <= 1
    answer.text.encode()


@given(cut=st.integers(0, len(_STORY)))
def test_cut_answer_gives_a_beginning_in_whole_sentences(cut: int) -> None:
    """Wherever it breaks off, what is out is the first sentences of the whole one, and no half title."""
    items = AnswerReader(title_wanted=True).feed(_STORY[:cut])
    whole, _ = _read(_STORY)

    assert whole[: len(items)] == items
    assert bool(items) is (cut > len("Mia and the Sea"))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_sentences_leave_as_soon_as_they_are_certain(count: int) -> None:
    """With a few words beyond its end, a sentence is out."""
    sentence = "The small grey mouse looked up at the moon."
    items = AnswerReader(title_wanted=True).feed(
        "T\n\n" + " ".join([sentence] * count) + " And then, after a long while, she "
    )

    assert 1 + count == len(items)


@pytest.mark.parametrize(
    "opening",
    [
        "# Mia and the Sea\n\n",
        "**Mia and the Sea**\n",
        "\n\nTitle: Mia and the Sea\n\n",
        "**Title:**\nMia and the Sea\n\n",
        "Mia and the Sea\n===============\n\n",
        "Sure! Here is a bedtime story for Mia:\n\nMia and the Sea\n\n",
        "Here's a story for you!\n\n---\n\nMia and the Sea\n\n",
        "Of course!\n\nMia and the Sea\n\n",
        "Конечно! Вот сказка для Мии:\n\nMia and the Sea\n\n",
        "```\nMia and the Sea\n\n",
        "```markdown\n# Mia and the Sea\n\n",
        "<think>A sea. A child.\n\nTitle: X\n</think>\n\nMia and the Sea\n\n",
        "A child, a sea.</think>\nMia and the Sea\n\n",
        "Mia and the Sea\n\n# Mia and the Sea\n\n",
        "Mia and the Sea\n\n**Title: Mia and the Sea**\n\n",
        "\ufeffMia and the Sea\r\n\r\n",
    ],
)
def test_title_is_found_in_whatever_dress(opening: str) -> None:
    """Headings, labels, chatter, fences, thoughts and a title that is said twice are not the text."""
    items, answer = _read(opening + "She swam. She slept.")

    assert isinstance(items[0], AttemptTitle)
    assert normalise_title(items[0].title) == "Mia and the Sea"
    assert answer.text == "She swam. She slept."


@pytest.mark.parametrize(
    "title",
    [
        "Here Is the Moon",
        "Sure, Said the Moon",
        "Let Me Tell You a Story!",
        "Вот так история!",
        "Да здравствует солнце!",
    ],
)
def test_title_that_sounds_like_chatter_stays(title: str) -> None:
    """Only what ends like an announcement is one."""
    assert AttemptTitle(title) == _read(f"{title}\n\nShe swam.")[0][0]


@pytest.mark.parametrize(
    "ending",
    [
        "\n\n===\n**Summary:** They slept.",
        "\n\n===\nSummary:\nThey slept.",
        "\n\n=== Summary ===\nThey slept.",
        "\n\n---\nSummary: They slept.",
        "\n\n---\n\n**Summary**\n\nThey slept.",
        "\n\n**Summary:** They slept.",
        "\n\n## Summary\nThey slept.",
        "\n\n*Summary: They slept.*",
        "\n\nSUMMARY: They slept.\n```",
        "\n\nTwo-sentence summary: They slept.",
        "\n\n**Story Summary (for a sequel):** They slept.",
        "\n\nSummary for sequels: They slept.",
        "\n\n### A short summary of the story:\nThey slept.",
        "\n\nTL;DR: They slept.",
        "\n\n**Краткое содержание для продолжения:** They slept.",
        "\n\nКраткий пересказ сказки: They slept.",  # noqa: RUF001 - Russian
        "\n\n**Краткое содержание:** They slept.",
        "\r\n\r\nКраткое содержание\r\nThey slept.",  # noqa: RUF001 - Russian
        "\n\nZusammenfassung: They slept.",
        "\n\n摘要：They slept.",  # noqa: RUF001 - Chinese
        "\n\nMoral: be kind.",
        "\n\n***\n\n**The moral of the story:** be kind.",
        "\n\n---\n*The moral of this story is: be kind.*",
        "\n\nМораль этой сказки: будь добрым.",  # noqa: RUF001 - Russian
        "\n\nSummary: They slept.\n\nMoral: be kind.",
        "\n\nThe End",
        "\n\n**The End.**",
        "\n\n***\n\n*THE END*\n",
        "\n\nКонец.",  # noqa: RUF001 - Russian
        "\n\nThe End\n\n(Word count: 150)",
        "\n\nThe End\n\n---\n\nLet me know if you'd like another!",
        "\n\nSummary: They slept.\n\nWould you like another story?",
    ],
)
def test_addition_behind_a_story_is_dropped(ending: str) -> None:
    """Every way that models mark it is understood, to the last character of the text before it."""
    answer = _read("Mia\n\nShe swam." + ending)[1]

    assert answer.text == "She swam."


@pytest.mark.parametrize("words_asked", [None, 2])
def test_story_that_goes_on_behind_a_rule_is_text(words_asked: int | None) -> None:
    """What is far too long for an addition is the story; the addition behind it is dropped."""
    part = "She swam on and on. " * 100
    answer = _read(f"Mia\n\nShe swam.\n\n===\n{part}\n\nSummary: They slept.", words_asked=words_asked)[1]

    assert f"She swam.\n\n{part.strip()}" == answer.text


@pytest.mark.parametrize("heading", ["Summary", "## Summary", "**Summary:**"])
@pytest.mark.parametrize(("words_asked", "whole"), [(400, True), (100, False), (None, False)])
def test_chapter_that_is_called_summary_is_text(heading: str, words_asked: int | None, whole: bool) -> None:
    """Behind a text that is far from its length; at its end it is no text."""
    part, rest = "She swam on and on. " * 20, "The next day she came home and slept. " * 20
    text = _read(f"Mia\n\n{part}\n\n{heading}\n\n{rest}", words_asked=words_asked)[1].text

    assert text.startswith(part.strip())
    assert whole == text.endswith(rest.strip())


def test_long_summary_behind_a_label_is_no_text() -> None:
    """A label is certain, so nothing behind it is spoken."""
    answer = _read(f"Mia\n\nShe swam.\n\nSummary: {'They slept. ' * 500}")[1]

    assert answer.text == "She swam."


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("She **really** swam, *far* and `fast`.", "She really swam, far and fast."),
        ("## Chapter One\n\nShe swam.", "Chapter One\n\nShe swam."),
        ("She swam.\n\n* * *\n\nShe slept.", "She swam.\n\nShe slept."),
        ("She swam.\n---\nShe slept.", "She swam.\n\nShe slept."),
        ("She swam.\n\n\n\n   \nShe slept.", "She swam.\n\nShe slept."),
        ("> She swam.\n> She slept.", "She swam.\nShe slept."),
        ("Twinkle, star,\nhow I wonder.\nSleep.", "Twinkle, star,\nhow I wonder.\nSleep."),
        ("She   swam.\tShe\u00a0slept.  ", "She swam. She slept."),
        ("She swam.\r\n\r\nShe slept.\r", "She swam.\n\nShe slept."),
        ("- Sleep, said Mia.\n- No.", "- Sleep, said Mia.\n- No."),
        ("Two < three, and 1 = 1.", "Two < three, and 1 = 1."),
        ("The summary of it all: she swam.", "The summary of it all: she swam."),
        ("The end of it all: she swam.", "The end of it all: she swam."),
        ("The End, read Mia.\n\nThe End\n\nAnd she slept.", "The End, read Mia.\n\nThe End\n\nAnd she slept."),
        ("Summaries are dull, said Mia.", "Summaries are dull, said Mia."),
        ("A story: that was her wish.", "A story: that was her wish."),
        ("Содержание письма было таким: спи.", "Содержание письма было таким: спи."),
        ("She \ud83d\ude00 swam.", "She \U0001f600 swam."),
        ("She <think>hm, a sea</think>swam.", "She swam."),
        ("**Emma** laughed. *Whoosh!* went the wind.", "Emma laughed. Whoosh! went the wind."),
        ("*Splash!* The frog jumped in.", "Splash! The frog jumped in."),
        ("_Tick_ said the clock.", "Tick said the clock."),
        ("- one > two", "- one > two"),
        ("— Там 5 > 3!", "— Там 5 > 3!"),
        ("* She swam.", "She swam."),
        ("<data>Emma</data> swam.<br><br>She slept.<br/>", "Emma swam.\n\nShe slept."),
        ("<p>She swam.</p><p>She <b>slept</b>.</p>", "She swam.\n\nShe slept."),
        ("I <3 you, said the fox, and a<b.", "I <3 you, said the fox, and a<b."),
        ("She drew a line like this ===, and laughed.", "She drew a line like this ===, and laughed."),
    ],
)
def test_text_is_plain(body: str, text: str) -> None:
    """Markdown goes, paragraphs and lines stay, and what only looks like markup stays too."""
    assert text == _text(f"Mia\n\n{body}")


def test_missing_title_is_told_by_an_empty_one() -> None:
    """A first line as long as a paragraph is the text; none of it is lost."""
    paragraph = "The small grey mouse looked up at the moon and thought of home. " * 8
    items, answer = _read(f"{paragraph}\n\nShe slept.")

    assert AttemptTitle("") == items[0]
    assert f"{paragraph.strip()}\n\nShe slept." == answer.text


@pytest.mark.parametrize("answer", ["", "\n\n", "Mia and the Sea", "<think>never ends"])
def test_title_line_that_never_ended_is_no_title(answer: str) -> None:
    """Nothing is given then, and the text is empty."""
    assert ([], "") == (_read(answer)[0], _text(answer))


@pytest.mark.parametrize(
    ("answer", "text", "opens"),
    [
        ("She slept. Good night.", "She slept. Good night.", False),
        (" She slept.", "She slept.", False),
        ("\n\nShe slept.", "She slept.", True),
        ("Here is the rest of the story:\n\nShe slept.", "She slept.", True),
        ("# Mia and the Sea\n\nShe slept.\n\nSummary: They slept.", "She slept.", True),
        ("Title: Mia and the Sea\nShe slept.", "She slept.", False),
    ],
)
def test_attempt_that_goes_on_has_no_title(answer: str, text: str, *, opens: bool) -> None:
    """A title that is said again and chatter are left out; whether a new line came first is told."""
    reader = AnswerReader(title_wanted=False, title="Mia and the Sea")
    items = [*reader.feed(answer), *reader.finish().items]

    assert text == "".join(item.text for item in items if isinstance(item, AttemptText))
    assert not any(isinstance(item, AttemptTitle) for item in items)
    assert opens is reader.opens_paragraph


@pytest.mark.parametrize(
    ("language", "body", "sentences"),
    [
        ("en", "Dr. Fox met Mr. Bear. He ran.", ["Dr. Fox met Mr. Bear.", " He ran."]),
        (
            "ru",
            "Он жил в г. Москве, на ул. Ленина. Потом уехал.",  # noqa: RUF001 - Russian
            ["Он жил в г. Москве, на ул. Ленина.", " Потом уехал."],  # noqa: RUF001 - Russian
        ),
        ("ru-RU", "— Спи, — сказала мама. И он уснул.", ["— Спи, — сказала мама.", " И он уснул."]),
        ("de", "Es war am 3. Mai. Alle schliefen.", ["Es war am 3. Mai.", " Alle schliefen."]),
        ("ja", "猫がいた。空は青い。", ["猫がいた。", "空は青い。"]),
        ("xx", "Abra cadabra. Bim bom!", ["Abra cadabra.", " Bim bom!"]),
    ],
)
def test_sentences_end_as_their_language_ends_them(language: str, body: str, sentences: list[str]) -> None:
    """Abbreviations end nothing, in any language."""
    items, _ = _read(f"T\n\n{body}", language_code=language)

    assert sentences == [item.text for item in items if isinstance(item, AttemptText)]


@pytest.mark.parametrize("piece", [". ", "x", "word ", "“Hi. ", "<", "=x", "?!”"])
def test_text_without_ends_is_not_held_for_ever(piece: str) -> None:
    """At most a thousand characters and a little are held back, and nothing is lost."""
    answer = "T\n\n" + piece * (20_000 // len(piece))
    reader = AnswerReader(title_wanted=True)
    given = held = 0
    for start in range(0, len(answer), 50):
        given += sum(
            len(item.text) for item in reader.feed(answer[start : start + 50]) if isinstance(item, AttemptText)
        )
        held = max(held, start - given)
    text = reader.finish().text

    assert held < MAX_HELD + 250
    assert (piece * (20_000 // len(piece))).strip() == text
