"""Cutting a text into segments, by the text alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_service.narration.segmenter import MAX_SEGMENT, Cut, Segmenter

FRAGMENTS = st.sampled_from(
    [
        "word ", "The fox ran home ", "a", "Dr. ", "3 p.m. ", ". ", "! ", "? ", "… ", ".", "\n", "\n\n", "“", "” ",
        ", ", "...", "。", "」", "こんにちは", "x" * 300, "   ", "👩\u200d👩\u200d👧", "**", "!!!!", '"', "ул. ", "– ",
        "“ ", "Song", " \n \n", "«", "« ", " » ", "។", "។ ", "։ ", "။", "３．１", "．", "‽ ",
    ]
)  # fmt: skip
TEXTS = st.lists(FRAGMENTS, max_size=120).map("".join)


def _cuts(text: str, sizes: list[int] | None = None, *, language: str = "en", words: int = 60) -> list[Cut]:
    segmenter = Segmenter(language, words)
    cuts: list[Cut] = []
    position = turn = 0
    while position < len(text):
        size = sizes[turn % len(sizes)] if sizes else len(text)
        cuts += segmenter.push(text[position : position + size])
        position += size
        turn += 1
    return cuts + segmenter.finish()


@given(text=TEXTS, sizes=st.lists(st.integers(1, 700), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_however_a_text_is_chopped_the_segments_are_the_same(text: str, sizes: list[int]) -> None:
    """Arrival never decides a cut."""
    assert _cuts(text) == _cuts(text, sizes)


@given(text=TEXTS, words=st.sampled_from([1, 10, 60, 200]))
@settings(max_examples=150, deadline=None)
def test_spans_tile_the_text_and_no_segment_is_empty_or_too_long(text: str, words: int) -> None:
    """Each segment begins where the one before ends, the last ends with the text, and all have something in them."""
    cuts = _cuts(text, words=words)

    assert (text if text.strip() else "") == "".join(cut.text for cut in cuts)
    assert [cut.text for cut in cuts] == [text[cut.start : cut.end] for cut in cuts]
    assert all(0 < len(cut.text.strip()) <= MAX_SEGMENT for cut in cuts)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ru", "Он жил в г. Москве, на ул. Ленина."),
        ("en", "Dr. Fox met Mr. Bear at 3 p.m."),
        ("de", "Er kam am 3. Mai und blieb bis zum 5. Juni."),
    ],
)
def test_abbreviations_and_dates_end_no_sentence(language: str, text: str) -> None:
    """What a full stop alone would break stays in one piece, and the sentence after it is cut off."""
    assert [text + " ", "Ok."] == [cut.text for cut in _cuts(text + " Ok.", language=language, words=1)]


def test_the_first_segment_is_one_sentence_and_the_next_ones_grow() -> None:
    """Sound starts soon: 1 sentence, then 15 words, 30, 60."""
    text = "The fox ran home today. " * 60

    assert [1, 3, 6, 12, 12, 12, 12, 2] == [cut.text.count("fox") for cut in _cuts(text)]


def test_a_cut_waits_for_eighty_characters_beyond_it() -> None:
    """With 79 the sentence may still go on; with 80 it is decided."""
    segmenter = Segmenter("en", 60)

    assert [] == segmenter.push("The fox ran home. " + "a" * 79)
    assert ["The fox ran home. "] == [cut.text for cut in segmenter.push("a")]


def test_a_paragraph_ends_a_segment_at_once() -> None:
    """An empty line needs no look ahead, with or without a full stop before it."""
    segmenter = Segmenter("en", 60)

    assert ["The title of a chapter\n\n"] == [cut.text for cut in segmenter.push("The title of a chapter\n\nT")]


def test_a_sentence_that_is_too_long_is_cut_at_a_clause() -> None:
    """The last comma within 600 characters parts it."""
    text = "and the fox ran on, " * 40

    assert [30, 10] == [cut.text.count("fox") for cut in _cuts(text)]


def test_a_clause_that_is_too_long_is_cut_at_a_word() -> None:
    """Without commas a space parts it."""
    text = "fox " * 200

    assert ["fox " * 150, "fox " * 50] == [cut.text for cut in _cuts(text)]


def test_a_word_that_is_too_long_is_cut_but_not_within_a_character() -> None:
    """A family of three joined emoji stays together at the hard limit."""
    family = "👩\u200d👩\u200d👧"

    assert ["a" * 598, family + "b" * 10] == [cut.text for cut in _cuts("a" * 598 + family + "b" * 10)]


def test_a_text_of_white_space_has_no_segment() -> None:
    """There is nothing to say."""
    assert [] == _cuts(" \n\n \t")


def test_white_space_around_the_text_belongs_to_the_first_and_the_last_segment() -> None:
    """Spans tile the content, white space and all."""
    cuts = _cuts(" \n\nHi there. Good night. \n\n ", words=1)

    assert [" \n\nHi there. ", "Good night. \n\n "] == [cut.text for cut in cuts]


def test_sentences_of_japanese_need_no_space_between_them() -> None:
    """Full-width stops part what stands close together."""
    assert ["こんにちは。", "元気ですか。", "はい。"] == [
        cut.text for cut in _cuts("こんにちは。元気ですか。はい。", language="ja", words=1)
    ]


def test_a_heading_ends_a_segment_however_short() -> None:
    """So does each verse of a quarter of the words: silence follows each."""
    verse = "Twinkle, twinkle, little star,\nhow I wonder what you are.\n\n"
    dialogue = "“Who is there?”\n\n“A fox.”\n\n"
    text = f"It was night.\n\nThe Song\n\n{verse}{verse}{dialogue}They went home and slept."

    assert ["It was night.\n\n", "The Song\n\n", verse, verse, dialogue + "They went home and slept."] == [
        cut.text for cut in _cuts(text, words=40)
    ]
