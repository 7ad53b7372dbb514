"""What of a text is meant for the ear."""

import html
import unicodedata
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servicekit.languages import language_of
from servicekit.sentences import TERMINALS
from voice_service.languages import covers
from voice_service.narration.spoken_text import (
    BREAK,
    DROP,
    HEADING_PAUSE,
    JOINT,
    LINE,
    PARAGRAPH_PAUSE,
    PAUSE,
    READ,
    SPACE,
    _cleaned,
    speakable,
)


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("# The **Fox**", "The Fox"),
        ("She was *very* _very_ ~~not~~ ==so== tired.", "She was very very not so tired."),
        ("- one\n- two\n* three", "one,\ntwo,\nthree"),
        ("- [x] done\n- [ ] to do", "done,\nto do"),
        ("> He said `stop`.", "He said stop."),
        ("Look [here](https://example.org/a) now", "Look here now"),
        ('![a fox](fox.png "Fox") [one][1] and two[^2].', "a fox one and two."),
        ("| fox | hen |\n|-----|:---:|\n| red | fat |", "fox, hen,\nred, fat"),
        ("Good night 🌙✨ my dear 👩‍👩‍👧!", "Good night my dear !"),
        ("Hi🌙Bye 🏳️‍🌈 🇩🇪 1️⃣ 👍🏽!", "Hi Bye 1 !"),
        ("  two   spaces\t and\r\n\n a line ", "two spaces and.\n\na line"),
        ("***", ""),
        ("a\u0000b\u0007c", "abc"),
        ("rock &amp; roll&nbsp;it&#8217;s caf&eacute; &#x41; &copy; &amp;lt; &fox;", "rock & roll it’s café A < &fox;"),
        ("\\*not\\* 2\\*3 \\_x\\_ back\\slash", "not 2*3 x back slash"),
        ("one<br>two<br/>\nthree <i>it</i> <em class='a'>em</em> </speak>", "one,\ntwo,\nthree it em"),
        ('<break time="1s"/>Hi <!-- no --><Hello> I <3 you', "Hi Hello I you"),
        ("so\u00adft \u200ezero\u200bwidth\u202e \ue000x", "soft zerowidth x"),
        ("می\u200cکرد a\u200db", "می\u200cکرد ab"),
        ("fox → hen -> cow • pig -- dog", "fox, hen, cow, pig, dog"),
        ("Lego® Foo™ © ¶ ‿", "Lego Foo"),
        ("a line\u2028and\u2029a paragraph", "a line,\nand.\n\na paragraph"),
        ("わ〜い スーパー・マリオ", "わい スーパー マリオ"),
    ],
)
def test_marks_and_emoji_are_not_spoken(text: str, spoken: str) -> None:
    """Markdown, HTML, entities, emoji and invisible characters go, words stay."""
    assert spoken == speakable(text).text


@pytest.mark.parametrize(
    "text",
    [
        "It is 20 °C & snake_case, 5-year-old", "2*3", "2 * 3 = 6", "3 < 5", "a < b", "5 > 3", "2^3", "50 %", "€5",
        "C#", "C++", "#1", "mum@home.org", "rock & roll", "№ 5", "½ ℃ ㎏", "5 × 3 ÷ 2 ± 1", "l·l", "1/2",
        "… – “Yes” — ‘no’",
        "[whispering] Hush", "(a) 3:30", "$5 + £6",
    ],
)  # fmt: skip
def test_what_has_words_of_its_own_is_read(text: str) -> None:
    """Sums, units, currencies and names."""
    assert text == speakable(text).text


@pytest.mark.parametrize(
    ("text", "spoken", "pause"),
    [
        ("Chapter One\n\nThe fox ran.", "Chapter One.\n\nThe fox ran.", 0.0),
        ("Chapter One\n\n", "Chapter One.", HEADING_PAUSE),
        ("# Chapter One\nThe fox", "Chapter One.\n\nThe fox", 0.0),
        ("# Chapter One\n", "Chapter One.", HEADING_PAUSE),
        ("“Chapter One”\n \n", "“Chapter One”.", HEADING_PAUSE),
        ("He slept.\n\n", "He slept.", PARAGRAPH_PAUSE),
        ("He slept.\n", "He slept.", 0.0),
        ("He said:\n\n“Run!”\n\n", "He said:\n\n“Run!”", PARAGRAPH_PAUSE),
        ("Little star\nHow I wonder\n\nUp", "Little star,\nHow I wonder.\n\nUp", 0.0),
        ("little star\nhow i wonder", "little star,\nhow i wonder", 0.0),
        (f"The fox {'ran and ' * 7}\nran.", f"The fox {'ran and ' * 7}".strip() + "\nran.", 0.0),
        ("昔々\n\n狐。\n狐が\n狐。", "昔々。\n\n狐。\n狐が、\n狐。", 0.0),
        ("सोया\n\nवह", "सोया।\n\nवह", 0.0),
        ("نام\nوقف", "نام،\nوقف", 0.0),
        ("ተኛ\n\nተነሳ", "ተኛ።\n\nተነሳ", 0.0),
    ],
)
def test_a_line_without_punctuation_gets_a_pause(text: str, spoken: str, pause: float) -> None:
    """Headings, verses and list items, in the marks of their script; wrapped prose stays, and silence follows."""
    said = speakable(text)

    assert (spoken, pause) == (said.text, said.pause)


_ALL: Final = [chr(code) for code in range(0x110000)]
_OUTCOMES: Final = {
    READ: "a{0}b", DROP: "ab", JOINT: "a b", SPACE: "a b", PAUSE: "a, b", LINE: "a,\nb", BREAK: "a.\n\nb",
}  # fmt: skip
_BY_CATEGORY: Final = {
    "Lu": READ, "Ll": READ, "Lt": READ, "Lm": READ, "Lo": READ, "Mn": READ, "Mc": READ, "Me": DROP, "Nd": READ,
    "Nl": READ, "No": READ, "Pc": SPACE, "Pd": PAUSE, "Ps": READ, "Pe": READ, "Pi": READ, "Pf": READ, "Po": READ,
    "Sm": READ, "Sc": READ, "Sk": DROP, "So": JOINT, "Zs": SPACE, "Zl": LINE, "Zp": BREAK, "Cc": DROP, "Cf": DROP,
    "Cs": DROP, "Co": DROP, "Cn": DROP,
}  # fmt: skip


def _points(ranges: str) -> str:
    spans = [span.partition("-") for span in ranges.split()]
    return "".join(chr(code) for first, _, last in spans for code in range(int(first, 16), int(last or first, 16) + 1))


_EXCEPTIONS: Final = {
    # Hyphens and dashes; an underscore within a word; degrees, № and their kind.
    READ: "-\u2010\u2011\u2012–—―_°" + "".join(each for each in _ALL[:0x1F000] if unicodedata.category(each) == "So"
        and each not in "™℠" and any(map(str.isalnum, unicodedata.normalize("NFKC", each)))),
    # Fillers and selectors without a glyph; asterisks, backquotes, carets and tildes of both widths, wave dashes.
    DROP: _points("34f 115f-1160 17b4-17b5 3164 ffa0 fe00-fe0f e0100-e01ef 180b-180d 180f")
        + "*\uff0a`\uff40^\uff3e~\uff5e〜<>{}™℠",
    SPACE: "\\\uff3c\u30fb\uff65\t\r\x1c\x1d\x1e\x1f",
    LINE: "\n\v\f\x85\u2028",
    # Bullets, daggers and editors' marks, bars, arrows.
    PAUSE: "|¦\uff5c¶‖‗†‡•‣※‾\u2041⁂\u2043\u303d\u3003" + "".join(
        each for each in _points("204a-205e 2e00-2e5d") if each not in TERMINALS and unicodedata.category(each) != "Lm"
    ) + "".join(
        each for each in _points("2190-21ff 27f0-27ff 2900-297f 2b00-2b11 2b30-2b4f 2b5a-2b95 1f800-1f8ff")
        if unicodedata.category(each) != "Cn"
    ),
}  # fmt: skip


def test_each_code_point_is_read_or_is_a_gap_by_its_category() -> None:
    """All 1,114,112 of them, between two letters."""
    expected = {each: _BY_CATEGORY[unicodedata.category(each)] for each in _ALL}
    expected.update({each: kind for kind, points in _EXCEPTIONS.items() for each in points})
    groups: dict[tuple[str, int], list[str]] = {}
    for each, kind in expected.items():
        groups.setdefault((unicodedata.category(each), kind), []).append(each)
    for (category, kind), points in groups.items():
        if kind in {READ, DROP} and category[0] in "LMNC":
            # Nothing among these depends on its neighbours.
            joined = "".join(points)
            assert (f"a{joined}b" if kind == READ else "ab") == speakable(f"a{joined}b").text, category
            continue
        wrong = [each for each in points if _OUTCOMES[kind].format(each) != speakable(f"a{each}b").text]
        assert not wrong, (category, kind, [hex(ord(each)) for each in wrong])


_WORDS: Final = st.lists(
    st.sampled_from(
        ["Fox", "it’s", "caf&eacute;", "&amp;", "&nbsp;", "&#8217;", "\\*", "**", "_x_", "<br>", "</speak>",
         "<!-- a -->",
         "🌙", "👩‍👩‍👧", "昔々", "लोमड़ी", "\n", "\n\n", " ", "\u00ad", "\u2028", "|",
         "- ", "# ", "> ", "→", "[a](b)", "2*3", "…", "”"]
    ),
    max_size=30,
)  # fmt: skip


@given(st.one_of(st.text(alphabet="ab *_#`~[](!)🌙\n\u200d\ufe0f.é&;<>|\\=", max_size=80), _WORDS.map("".join)))
@settings(max_examples=400, deadline=None)
def test_every_spoken_character_is_found_where_it_stood(text: str) -> None:
    """Spans never go back, and hold the character, its entity, or the gap that a blank stands for.

    Punctuation that was added has the place of what it follows.
    """
    said = speakable(text)
    spans = list(zip(said.positions, said.ends, strict=True))

    assert len(said.text) == len(spans)
    assert spans == sorted(spans)
    for index, (character, (start, end)) in enumerate(zip(said.text, spans, strict=True)):
        stood = text[start:end]
        added = index and spans[index - 1] == (start, end) and character in ".,。\uff0c、।"
        assert character in stood or character in html.unescape(html.unescape(stood)) or character.isspace() or added
        assert start < end
    read = [(character, span) for character, span in zip(said.text, spans, strict=True) if character.isalpha()]
    assert len(read) == len({span for _, span in read})


@given(_WORDS)
def test_a_word_is_found_where_it_stood(parts: list[str]) -> None:
    """Whatever is around it, its times point at it."""
    text = f"{''.join(parts)} hedgehog {''.join(parts)}"
    said = speakable(text)
    start = said.text.index("hedgehog")

    assert "hedgehog" == text[slice(*said.original_span(start, start + len("hedgehog")))]


def test_a_word_with_an_entity_has_all_of_it() -> None:
    """Its span begins and ends with the entities."""
    text = "He said &Eacute;tat&eacute; &amp; left."
    said = speakable(text)
    start = said.text.index("Étaté")

    assert "&Eacute;tat&eacute;" == text[slice(*said.original_span(start, start + len("Étaté")))]


def test_a_word_is_mapped_back_over_what_was_left_out() -> None:
    """Word timings point at the text that was given, not at the one that was spoken."""
    text = "🌙 **Good** night"
    said = speakable(text)

    start, end = said.original_span(said.text.index("night"), len(said.text))

    assert "night" == text[start:end]


@pytest.mark.parametrize(("text", "audible"), [("…!", False), ("🌙", False), ("", False), ("a", True), ("7", True)])
def test_only_letters_and_digits_can_be_heard(text: str, audible: bool) -> None:
    """A row of dots is a pause."""
    assert audible is speakable(text).audible


@pytest.mark.parametrize(
    ("sample", "language"),
    [
        ("The fox", "en"),
        ("Лиса", "ru"),
        ("Їжак", "uk"),
        ("きつね", "ja"),
        ("狐狸", "zh"),
        ("小さ", "ja"),
        ("ሰላም", "am"),
        ("", "en"),
    ],
)
def test_letters_tell_the_language(sample: str, language: str) -> None:
    """By script alone; Latin letters are taken for English."""
    assert language == language_of(sample)


@pytest.mark.parametrize(
    ("wanted", "spoken"), [("en", True), ("en-AU", True), ("EN", True), ("pt", True), ("pt-PT", False), ("eng", False)]
)
def test_a_bare_language_stands_for_its_regions(wanted: str, spoken: bool) -> None:
    """A voice of "en" reads any English; one of "pt-BR" reads "pt" but not "pt-PT"."""
    assert spoken is covers(("en", "pt-BR"), wanted)


@given(st.text(st.sampled_from("ab Z9.,!-+=<>*_#`[]()~|\\&;^{}\n\t é’—я世🌙\u200d\ufe0f\u20e3\xa0\xad·"), max_size=30))
def test_the_short_way_is_the_long_way(text: str) -> None:
    """What passes for plain comes out as if it had been looked at character by character."""
    short, long = speakable(text), _cleaned(text)

    assert (long.text, list(long.positions)) == (short.text, list(short.positions))
    assert list(long.ends) == list(short.ends)
