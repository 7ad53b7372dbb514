"""Marks that end sentences, in every script."""

import pytest
import regex  # type: ignore[import-untyped]

from servicekit.sentences import CLOSERS, TERMINALS, WIDE_STOPS, SentenceEnds, is_closed, sentence_ends
from story_service.answer.sentences import SentenceCutter
from voice_service.narration.segmenter import Segmenter


def _cut(text: str, language: str) -> list[str]:
    cutter = SentenceCutter(language)
    return [sentence.strip() for sentence in (*cutter.feed(text), *cutter.close())]


def _segments(text: str, language: str) -> list[str]:
    segmenter = Segmenter(language, 1)
    return [cut.text.strip() for cut in (*segmenter.push(text), *segmenter.finish())]


def test_terminals_are_those_of_unicode() -> None:
    """A newer version of regex may know more: then they are added."""
    points = (chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)

    assert [point for point in points if regex.match(r"\p{Sentence_Terminal}", point)] == sorted(TERMINALS)


@pytest.mark.parametrize("mark", sorted(TERMINALS), ids=ascii)
def test_every_terminal_ends_a_sentence_for_writer_and_voice(mark: str) -> None:
    """Whether or not sentencex knows it."""
    text = f"Wort wort{mark} Wort wort."
    expected = [f"Wort wort{mark}", "Wort wort."]

    assert expected == _cut(text, "de")
    assert expected == _segments(text, "de")
    assert is_closed(expected[0])


@pytest.mark.parametrize("mark", sorted(WIDE_STOPS), ids=ascii)
def test_wide_stops_need_no_blank(mark: str) -> None:
    """Scripts without blanks between words have none after a stop either."""
    assert [f"あああ{mark}", f"いいい{mark}"] == _cut(f"あああ{mark}いいい{mark}", "ja")


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("de", ["„Gute Nacht.“", "Dann schlief er ein.", "Alle schliefen."]),
        ("de", ["»Gute Nacht!«", "Dann schlief er ein.", "Alle schliefen."]),
        ("de", ["‚Gute Nacht.‘", "Dann schlief er ein."]),
        ("de", ["›Gute Nacht.‹", "Dann schlief er ein."]),
        ("de", ["„Ja!“ sagte er.", "Dann ging er."]),
        ("de", ["Er rief.", "„Komm!“", "Und sie kam."]),
        ("cs", ["„Dobrou noc.“", "A pak usnul."]),
        ("fr", ["« Bonsoir. »", "Puis il dormit."]),
        ("en", ["He stopped.", "“Run!”", "And they ran."]),
        ("km", ["គាត់ដេក។", "គាត់ភ្ញាក់។", "ចប់"]),
        ("am", ["ተኛ።", "ተነሳ።", "በላ።"]),
        ("hy", ["Նա քնեց։", "Նա արթնացավ։"]),
        ("en", ["Really‽", "Yes."]),
    ],
)
def test_quotations_and_scripts(language: str, sentences: list[str]) -> None:
    """The same sentences for writer and voice."""
    assert sentences == _cut(" ".join(sentences), language)
    assert sentences == _segments(" ".join(sentences), language)


def test_opening_quotation_mark_belongs_to_the_next_sentence() -> None:
    """Chinese has no blank before it."""
    assert ["他走了。", "“晚安。”", "她说。"] == _cut("他走了。“晚安。”她说。", "zh")


def test_number_with_a_wide_point_is_one() -> None:
    """The point stands between digits."""
    assert ["値は３．１４です．", "次の日．"] == _cut("値は３．１４です．次の日．", "ja")


@pytest.mark.parametrize("text", ["He slept", "He slept,", "the book “Stars”", "", "…and then the"])
def test_text_without_a_stop_is_not_closed(text: str) -> None:
    """A closing quotation mark alone ends no sentence."""
    assert not is_closed(text)


@pytest.mark.parametrize("closer", sorted(CLOSERS), ids=ascii)
def test_closers_belong_to_their_sentence(closer: str) -> None:
    """Where white space follows them."""
    text = f"Wort wort.{closer} Wort."

    assert is_closed(f"Wort.{closer}")
    assert [len(f"Wort wort.{closer}"), len(text)] == sentence_ends(text)


def test_candidate_is_decided_by_the_look_ahead() -> None:
    """Not before there is as much text."""
    ends = SentenceEnds("en", look_ahead=3)
    candidate = ends.candidate("Hi. Abc", 0)

    assert candidate is not None
    assert [False, True] == [ends.is_decidable(text, candidate) for text in ("Hi. Ab", "Hi. Abc")]
