"""Where a story begins and ends in an answer: nothing of it is lost, and nothing else is read aloud."""

# ruff: noqa: RUF001 - Russian, Chinese and Japanese

import itertools
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.last_sentences import OF_STORIES, TO_THE_READER

from story_service.answer.addition import MAX_ADDITION
from story_service.answer.reader import AnswerReader, ReadAnswer
from story_service.answer.titles import normalise_title
from story_service.assignment import Assignment, Listener
from story_service.chat import ChatDelta, ChatEnded
from story_service.generation.model_answer import CallFacts
from story_service.generation.writing_attempt import WritingAttempt
from story_service.ports import AttemptText, AttemptTitle, Spending

_ENDED = ChatEnded(
    generation_id="g", model="a/b", provider_name="", finish_reason="stop", spending=Spending(), created=1
)
_LONG = "The fox walked along the river and met a friend who told a tale. "


_MARKS = [
    "===\n",
    "= = =\n",
    "---\n",
    "***\n",
    "\n",
    "Summary: ",
    "## Summary\n",
    "Итог: ",
    "[Summary: ",
    "I hope you like the story! ",
    "=== ",
    "# ",
    "> ",
    "*",
]
_ENDS = {
    "===\n",
    "= = =\n",
    "---\n",
    "Summary: ",
    "## Summary\n",
    "Итог: ",
    "[Summary: ",
    "I hope you like the story! ",
}
_MAX_LINES = 3


def _read(
    answer: str,
    *,
    language_code: str = "en",
    title_wanted: bool = True,
    title: str = "",
    words_asked: int | None = None,
    step: int = 4,
) -> tuple[str, ReadAnswer]:
    """The title, normalised, and the end of an answer that comes `step` code points at a time."""
    reader = AnswerReader(title_wanted, title=title, language_code=language_code, words_asked=words_asked)
    items = [item for start in range(0, len(answer), step) for item in reader.feed(answer[start : start + step])]
    end = reader.finish()
    items += end.items
    assert end.text == "".join(item.text for item in items if isinstance(item, AttemptText))
    titles = [normalise_title(item.title) for item in items if isinstance(item, AttemptTitle)]
    return (titles or [""])[0], end


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "She walked.\n\n===\n\nThe next morning she woke. She played.",
            "She walked.\n\nThe next morning she woke. She played.",
        ),
        ("She drew a line like this ===, and laughed.", "She drew a line like this ===, and laughed."),
        (
            "The report said:\n\nSummary: Emma is kind.\n\nEmma was happy. She slept.",
            "The report said:\n\nSummary: Emma is kind.\n\nEmma was happy. She slept.",
        ),
        ("Summary: all was well.\n\nEmma slept.", "Summary: all was well.\n\nEmma slept."),
        ("Лиса считала.\n\nИтог: сто звёзд.\n\nПотом спала.", "Лиса считала.\n\nИтог: сто звёзд.\n\nПотом спала."),
        ("She swam.\n\nSummary: Emma is kind.\nShe read it.\nShe ran.\nShe slept.\nShe woke.", None),
        ("She swam.\n\n---\n\nShe slept.", "She swam.\n\nShe slept."),
        ("She swam.\n\n= = =\n\nShe slept.\n\n==\n\nShe woke.", "She swam.\n\nShe slept.\n\nShe woke."),
        ("=== Chapter 2 ===\n\nShe slept.", "=== Chapter 2 ===\n\nShe slept."),
        (
            "I hope that the story ends well, said Mia.\n\nIt did.",
            "I hope that the story ends well, said Mia.\n\nIt did.",
        ),
        ("Let me know if it rains.\n\nIt rained.", "Let me know if it rains.\n\nIt rained."),
    ],
)
@pytest.mark.parametrize("words_asked", [None, 5, 1_000])
@pytest.mark.parametrize("break_", ["\n", "\r\n"])
def test_story_that_goes_on_is_whole(body: str, text: str | None, words_asked: int | None, break_: str) -> None:
    """What looks like the end in the midst of a story is text, and the summary behind it is dropped all the same."""
    answer = _read(f"Fox\n\n{body}\n\nSummary: A fox.".replace("\n", break_), words_asked=words_asked)[1]

    assert (body if text is None else text).replace(" \n", "\n").split() == answer.text.split()


def test_story_that_goes_on_behind_a_label_leaves_while_it_comes() -> None:
    """A second paragraph behind a label shows it, and it leaves while the answer is still coming."""
    body = "She read.\n\nSummary: Emma is kind.\n\nEmma was happy, and she ran home to tell her mother all about it."
    reader = AnswerReader(title_wanted=True)
    items = reader.feed(
        f"Fox\n\n{body}\n\nThen she slept until the morning came, and it was a long, still night.\n\nAnd"
    )

    assert body in "".join(item.text for item in items if isinstance(item, AttemptText))


@pytest.mark.parametrize(
    ("language_code", "ending"),
    [
        ("en", "In summary: "),
        ("en", "**Summary**\n\n"),
        ("en", "Summary - "),
        ("en", "Summary: "),
        ("en", "Two-sentence summary for sequels: "),
        ("en", "Summary for the next writer: "),
        ("en", "**[Summary]** "),
        ("en", "Summary\n=======\n"),
        ("en", "<summary>"),
        ("en", "--- \n**Summary:** "),
        ("de", "Zusammenfassung der Geschichte: "),
        ("de", "**Zusammenfassung der Geschichte:** "),
        ("de", "Zusammenfassung in zwei Sätzen: "),
        ("de", "Kurzzusammenfassung: "),
        ("de", "===\nZusammenfassung der Geschichte: "),
        ("de", "Moral der Geschichte: "),
        ("es", "Moraleja: "),
        ("fr", "Morale de l’histoire : "),
        ("ru", "Мораль: "),
        ("fr", "Résumé de l’histoire : "),
        ("fr", "Résumé : "),
        ("es", "Resumen de la historia: "),
        ("zh", "故事摘要："),
        ("zh", "【摘要】"),
        ("ja", "続編のための要約："),
        ("ru", "Кратко: "),
        ("ru", "Краткое содержание сказки: "),
    ],
)
@pytest.mark.parametrize("behind", ["", "\n\nI hope Mia enjoys this story! Let me know if you'd like any changes."])
def test_labels_of_all_languages_are_told_from_the_text(language_code: str, ending: str, behind: str) -> None:
    """Whatever models call it, and however they part it from the text."""
    answer = _read(f"T\n\nA fox ran.\n\n{ending}It slept.{behind}", language_code=language_code)[1]

    assert answer.text == "A fox ran."


@pytest.mark.parametrize("opening", ["(Summary: {})", "[Summary: {}]", "*(Summary: {})*", "【摘要：{}】"])
def test_brackets_around_a_summary_are_no_part_of_it(opening: str) -> None:
    """Neither of the two."""
    answer = _read("T\n\nA fox ran.\n\n" + opening.format("It slept."))[1]

    assert answer.text == "A fox ran."


_RULES = ("---", "===", "==", "= = =", "**===**", "`===`", "===<think>hm</think>=", "\uff1d\uff1d\uff1d")


@pytest.mark.parametrize("rule", _RULES)
@pytest.mark.parametrize(
    ("words_asked", "text"), [(3, "A fox ran."), (None, "A fox ran.\n\nIt slept."), (100, "A fox ran.\n\nIt slept.")]
)
def test_rule_separates_an_addition_from_a_whole_story_alone(words_asked: int | None, text: str, rule: str) -> None:
    """Before the story has its length, and a second time, it is a scene break."""
    answer = _read(f"T\n\nA fox ran.\n\n{rule}\nIt slept.", words_asked=words_asked)[1]
    twice = _read(f"T\n\nA fox ran.\n\n{rule}\nIt slept.\n\n{rule}\nIt woke.", words_asked=words_asked)[1]

    assert text == answer.text
    assert twice.text == "A fox ran.\n\nIt slept.\n\nIt woke."


@pytest.mark.parametrize("behind", ["", "\n\nSummary: it slept.", "\n\nThe End"])
def test_last_scene_behind_a_rule_is_text(behind: str) -> None:
    """What has more sentences than an addition is the story, whatever stands behind it."""
    scene = "It slept. It woke. It ate. It slept again."
    answer = _read(f"T\n\nA fox ran.\n\n---\n\n{scene}{behind}", words_asked=3)[1]

    assert f"A fox ran.\n\n{scene}" == answer.text


@pytest.mark.parametrize("rule", ["***", "* * *", "~~~", "#"])
def test_other_rules_are_scene_breaks(rule: str) -> None:
    """What follows them is the story, to its end."""
    assert _read(f"T\n\nA fox ran.\n\n{rule}\n\nIt slept.", words_asked=3)[1].text == "A fox ran.\n\nIt slept."


async def test_attempt_knows_the_requested_length_of_its_story() -> None:
    """So that what a rule separates from a whole story is not read aloud."""
    assignment = Assignment(story_id="s", child=Listener(name="Mia"), length_minutes=1)
    attempt = WritingAttempt(CallFacts(model="a/b", provider="p", start_time=datetime.now(UTC)), assignment)
    story = " ".join(f"Then the fox met number {number} by the river." for number in range(20))
    told = [*attempt.take(ChatDelta(f"Fox\n\n{story}\n\n---\n{_LONG}")), *attempt.take(_ENDED)]

    assert "a friend who told" not in "".join(item.text for item in told if isinstance(item, AttemptText))


@pytest.mark.parametrize("mark", ["===\n", "Summary: ", "---\nSummary:\n\n"])
@pytest.mark.parametrize("words_asked", [3, None])
def test_nothing_behind_a_mark_is_held_without_bound(words_asked: int | None, mark: str) -> None:
    """Whatever is longer than any addition is the story, and leaves while it comes."""
    reader = AnswerReader(title_wanted=True, words_asked=words_asked)
    given = "".join(
        item.text
        for piece in (f"T\n\nA fox ran.\n\n{mark}", *itertools.repeat(_LONG, 2 * MAX_ADDITION // len(_LONG)))
        for item in reader.feed(piece)
        if isinstance(item, AttemptText)
    )

    assert len(given) > MAX_ADDITION


def test_second_half_of_a_story_is_no_summary() -> None:
    """What is longer than a summary, behind less than half of the words that were asked for, is the story."""
    answer = _read(f"T\n\n{_LONG}\n\n===\n\n{_LONG * 12}", words_asked=150)[1]

    assert f"{_LONG.strip()}\n\n{(_LONG * 12).strip()}" == answer.text


@pytest.mark.parametrize(
    "closing",
    [
        "I hope Mia enjoys this bedtime story! Let me know if you'd like any changes.",
        "I hope you enjoyed the story!\n\nWould you like another?",
        "Let me know if you'd like a longer story!",
        "(Word count: 150)",
        "Надеюсь, сказка вам понравится!",
        "Ich hoffe, die Geschichte gefällt euch!",
    ],
)
@pytest.mark.parametrize("behind", ["", "\n\nSummary: It slept."])
def test_what_is_said_behind_the_story_is_not_read_aloud(closing: str, behind: str) -> None:
    """Good wishes and offers are for the one who asked."""
    answer = _read(f"T\n\nA fox ran.\n\n{closing}{behind}")[1]

    assert answer.text == "A fox ran."


@pytest.mark.parametrize(
    ("answer", "title", "text"),
    [
        (
            "Лиса\n\nВот какая история приключилась с Аней:\n— Мама!",
            "Лиса",
            "Вот какая история приключилась с Аней:\n— Мама!",
        ),
        (
            "Лиса\n\nДа будет тихо, и вот что случилось:\nвсе спали.",
            "Лиса",
            "Да будет тихо, и вот что случилось:\nвсе спали.",
        ),
        ("The Fox\n\nHere's how it all began:\nEmma ran.", "The Fox", "Here's how it all began:\nEmma ran."),
        ("The Fox\n\nHere's how it all began:\n\nEmma ran.", "The Fox", "Here's how it all began:\n\nEmma ran."),
        ("The Fox\n\nI'll tell you a secret:\nit hums.", "The Fox", "I'll tell you a secret:\nit hums."),
        (
            "Хорошо, когда сказка рядом!\n\nЖила лиса. Она спала.",
            "Хорошо, когда сказка рядом!",
            "Жила лиса. Она спала.",
        ),
        (
            "Хорошо, когда сказка рядом!\n\nЖила лиса.\n\nОна спала.",
            "Хорошо, когда сказка рядом!",
            "Жила лиса.\n\nОна спала.",
        ),
        ("Sure! Here is a story:\n\nThe Fox.\n\nIt ran.", "The Fox.", "It ran."),
        ("Of course!\n\nThe fox ran home.\n\nSummary: It slept.", "Of course!", "The fox ran home."),
        ("Вот и сказка про лису\n\nЖила лиса.", "Вот и сказка про лису", "Жила лиса."),
        ("A Short Summary\n\nOnce. Slept.", "A Short Summary", "Once. Slept."),
        ("Итог\n\nЖила лиса. Спала.", "Итог", "Жила лиса. Спала."),
        ("Sure! Here is a story:\nOnce. A fox slept.", "", "Once. A fox slept."),
        ("So it began:\n\nOnce. A fox slept.", "", "So it began:\n\nOnce. A fox slept."),
        ("The Fox\n\nSummary: A fox.", "The Fox", "Summary: A fox."),
    ],
)
def test_no_title_and_no_first_sentence_is_taken_for_chatter(answer: str, title: str, text: str) -> None:
    """What sounds like an announcement is one only where a title and a text follow it."""
    behind = "" if "Summary: " in answer else "\n\nSummary: It slept."
    found, end = _read(answer + behind)

    assert (title, text) == (found, end.text)


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Gerne! Hier ist eine Gutenachtgeschichte für Mia:\n\n**Der Fuchs**\n\n", "Der Fuchs"),
        ("¡Claro! Aquí tienes un cuento para Emma:\n\n**El zorro**\n\n", "El zorro"),
        ("好的，这是一个睡前故事：\n\n《小狐狸》\n\n", "小狐狸"),
        ("Voici une histoire :\n\nLe renard\n\n", "Le renard"),
        ("**Titel:** Der Fuchs\n\n", "Der Fuchs"),
        ("<title>The Fox</title>", "The Fox"),
        ("The Fox<br>\n\n", "The Fox"),
        ("=== The Fox ===\n\n", "The Fox"),
    ],
)
def test_titles_are_found_in_all_languages(answer: str, title: str) -> None:
    """Behind an announcement in any language, with labels, tags and quotation marks of any kind."""
    found, end = _read(answer + "A fox ran.\n\nSummary: It slept.")

    assert (title, "A fox ran.") == (found, end.text)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("Вот что ответил ёжик:\n— Я не боюсь.", "Вот что ответил ёжик:\n— Я не боюсь."),
        ("Вот что ответил ёжик:\n\n— Я не боюсь.", "Вот что ответил ёжик:\n\n— Я не боюсь."),
        ("Here is the rest of the story:\n\nShe slept.", "She slept."),
        ("Вот продолжение сказки:\n\nОна спала.", "Она спала."),
        ("Here is the rest of the story:\nShe slept.", "Here is the rest of the story:\nShe slept."),
        ("Summary: They slept.", ""),
    ],
)
def test_attempt_that_goes_on_keeps_its_first_line(answer: str, text: str) -> None:
    """Only an announcement of the continuation, with an empty line behind it, is none of the story."""
    assert text == _read(answer, title_wanted=False, title="Fox", language_code="ru")[1].text


@settings(deadline=None, max_examples=60)
@given(
    marks=st.lists(st.lists(st.sampled_from(_MARKS), max_size=3), min_size=1, max_size=25),
    words_asked=st.sampled_from([None, 3, 40, 1_000]),
    break_=st.sampled_from(["\n", "\n\n", "\r\n\r\n"]),
    padding=st.sampled_from(["", _LONG, _LONG * 8, _LONG * 30]),
    title_wanted=st.booleans(),
)
def test_no_sentence_is_lost_but_at_the_end(
    marks: list[list[str]], words_asked: int | None, break_: str, padding: str, *, title_wanted: bool
) -> None:
    """Whatever stands between sentences: only what nothing but marked lines follows is no text."""
    head = f"Title{break_}Once. " if title_wanted else "Once. "
    lines = [f"{''.join(before)}{padding}Number{number}x." for number, before in enumerate(marks)]
    text = _read(
        head + break_.join(lines) + f"{break_}Summary: it slept.\n",
        title_wanted=title_wanted,
        words_asked=words_asked,
        step=50,
    )[1].text
    told = [int(number) for number in re.findall(r"Number(\d+)x", text)]
    hidden = marks[len(told) :]

    assert told == [*range(len(told))]
    assert not hidden or _is_marked(hidden[0])
    for start in range(len(hidden) - _MAX_LINES):
        assert any(map(_is_marked, hidden[start : start + _MAX_LINES + 1]))


def _is_marked(before: list[str]) -> bool:
    """Whether a line begins with, or follows, something that looks like the end of a story."""
    return bool({*before} & _ENDS)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 100_000])
def test_long_answer_is_read_in_linear_time(step: int) -> None:
    """Hundreds of labels and separators in a row are read once each."""
    body = "\n\n".join(f"Summary: {number}.\n\n===\n\n{_LONG}{number}." for number in range(300))
    answer = _read(f"T\n\nA fox ran.\n\n{body}\n\nSummary: It slept.", step=step)[1]

    assert answer.text.count("The fox walked") == answer.text.count("Summary: ") == 300
    assert "It slept" not in answer.text


@pytest.mark.parametrize("break_", [" ", "\n\n"], ids=["sentence", "paragraph"])
@pytest.mark.parametrize("sentence", OF_STORIES)
def test_last_sentence_of_a_story_is_text(sentence: str, break_: str) -> None:
    """Stories speak to a child, and in the first person, in words that are alike those of a model."""
    assert _read(f"Mia\n\nShe swam.{break_}{sentence}")[1].text == f"She swam.{break_}{sentence}"


@pytest.mark.parametrize("break_", [" ", "\n\n"], ids=["sentence", "paragraph"])
@pytest.mark.parametrize("sentence", TO_THE_READER)
def test_last_sentence_of_an_answer_is_dropped(sentence: str, break_: str) -> None:
    """It speaks of the story, or of changes to it."""
    assert _read(f"Mia\n\nShe swam.{break_}{sentence}")[1].text == "She swam."


@pytest.mark.parametrize("mark", ["#", ">", "*", "_", "=", "]", "}", "“", '"', "'", "# ", "(", "~", "`"])
def test_line_of_marks_is_read_in_linear_time(mark: str) -> None:
    """Ten thousand marks in a row take no longer than words: else this test would not end."""
    assert _read(f"Mia\n\nShe swam.\n\n{mark * 10_000} a\n\nShe slept.", step=50)[1].text.endswith("\n\nShe slept.")


@pytest.mark.parametrize(
    "title",
    [
        "The Prompt in the Theatre",
        "The Tale of the Brave Fox",
        "The Story That Could Not End",
        "Dr. Owl and Mr. Mouse",
        "1. The Beginning",
    ],
)
@pytest.mark.parametrize("dress", ["{}", "**{}**", "# {}", "Sure! Here's a story for Mia:\n\n**{}**"])
def test_title_may_speak_of_a_story_and_have_full_stops(dress: str, title: str) -> None:
    """It is neither a subtitle nor the first sentence."""
    assert normalise_title(_read(f"{dress.format(title)}\n\nA fox ran.")[0]) == title


def test_rules_and_labels_behind_thoughts_are_no_titles() -> None:
    """The title is what follows them."""
    thought = "Okay, the user wants a bedtime story of around 150 words."
    title, answer = _read(f"{thought}\n\n---\n\n**Story:**\n\n# The Fox\n\n{_LONG.strip()}\n\n---\n\nDo you like it?")

    assert title == "The Fox"
    assert answer.text.startswith(_LONG.strip())


def test_riddles_with_questions_and_answers_are_text() -> None:
    """Where a line of the text begins with "Question:", "Answer:" is no second turn."""
    text = "Question: What flies without wings?\n\nAnswer: a cloud, said Tom.\n\nQuestion: And now?\n\nHe slept."

    assert _read(f"Three Riddles\n\n{text}")[1].text == text


@pytest.mark.parametrize("behind", ["[Soft music fades]", "*[Image: a sleeping fox]*", "[End of transmission]"])
def test_direction_behind_a_story_is_dropped(behind: str) -> None:
    """It is no unfinished sentence either."""
    assert _read(f"T\n\nA fox ran.\n\n{behind}")[1].text == "A fox ran."


@pytest.mark.parametrize("arguments", [dict, json.dumps], ids=["object", "text"])
def test_arguments_of_a_function_are_the_story(arguments: Callable[..., object]) -> None:
    """The name of the function is no title."""
    story = {"title": "The Fox", "story": f"{_LONG * 3}"}
    title, answer = _read(json.dumps({"name": "write_story", "arguments": arguments(story)}))

    assert title == "The Fox"
    assert answer.text == (_LONG * 3).strip()


@pytest.mark.parametrize("begin", ['{"', '["', '{"a":"'])
def test_json_in_json_is_read_once(begin: str) -> None:
    """However often it begins, the answer is read to its end."""
    title, _ = _read(f"Mia\n\nShe swam.\n\n{begin * 2_000}", step=50)

    assert title in {None, "", "Mia"}
