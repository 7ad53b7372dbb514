"""English grammar of the embedded writer: wishes read, interests made lovable, words joined."""

import itertools
import re
from collections import Counter
from importlib import resources
from random import Random

import pytest
from support.offline_briefs import HERO, SEQUEL, brief

from offline_writer.bands import band_of
from offline_writer.brief import clean, clean_name, closed
from offline_writer.cast import Helping, Quest
from offline_writer.english.cast import EnglishCastBuilder
from offline_writer.english.grammar import Lexicon, article, joined, possessive, progressive, title_case, years
from offline_writer.english.nouns import interests
from offline_writer.english.wish import Wish, WishReader
from offline_writer.fitting import sentence_keys
from offline_writer.stock import Line, Realiser, by_key, load, parse, typeset

STOCK = load(resources.files("offline_writer.english") / "stock")
SLOT = re.compile(r"^\{\w+\}$")
FAMILIES = {
    f"{kind}_{file}": file
    for kind in ("hero", "combined")
    for file in ("openings", "wishes", "endings", "continuations")
} | {"shapes": "wishes", "lessons": "wishes", "memories": "wishes"}
"""Files of which a story has only one."""
LEXICON = Lexicon(STOCK["lexicon"])
READER = WishReader(LEXICON)


def read(wish: str) -> Wish | None:
    """As Mia's wish."""
    return READER.read(wish, names=("Mia", "Robin"), person="her", default="who could not sleep")


@pytest.mark.parametrize(
    ("wish", "first", "kind", "past"),
    [
        ("a story about a dragon who cannot sleep", "a dragon", "sleep", "could not sleep"),
        ("Please tell me a story about a bear that has no friends!", "a bear", "lonely", "was all alone"),
        ("two kittens who lost their mittens", "two kittens", "lost", "had lost their mittens"),
        ("a tale of 3 little pigs", "three little pigs", "sleep", "could not sleep"),
        ("an owl scared of heights", "an owl", "afraid", "was afraid of heights"),
        ("a whale that dreams of flying", "a whale", "wants", "wanted to fly"),
        ("a mouse looking for cheese", "a mouse", "wants", "wanted to find cheese"),
        ("the little train that couldn't stop", "the little train", "cannot", "could not stop"),
        ("a fox and a hare who are friends", "a fox and a hare", "trait", "were friends"),
        ("a boy who is very small", "a boy", "adj", "was very small"),
        ("my grandma", "her grandma", "sleep", "could not sleep"),
        ("dinosaurs", "some dinosaurs", "sleep", "could not sleep"),
        ("Zorro", "Zorro", "sleep", "could not sleep"),
        ("help the dragon who cannot sleep", "the dragon", "sleep", "could not sleep"),
        ("a bedtime story for my son about trains", "some trains", "sleep", "could not sleep"),
        ("Mia and a dragon", "a dragon", "sleep", "could not sleep"),
        ("a dragon and Robin", "a dragon", "sleep", "could not sleep"),
    ],
)
def test_wish_about_somebody_is_read(wish: str, first: str, kind: str, past: str) -> None:
    """Who it is and what troubles them."""
    found = read(wish)

    assert isinstance(found, Helping)
    assert (first, kind, past) == (found.who.first, found.trouble.kind, found.trouble.past)


@pytest.mark.parametrize(
    ("wish", "deed", "seen"),
    [
        ("to find the moon", "find the moon", "the moon"),
        ("I want to fly to Mars", "fly to Mars", None),
        ("find my dog", "find my dog", "her dog"),
        ("I wish I could fly", "fly", None),
        ("Mia wants to be a pilot", "be a pilot", None),
        ("a story about Mia learning to swim", "learn to swim", None),
        ("swimming with dolphins", "swim with dolphins", None),
        ("a trip to the sea", "go on a trip to the sea", None),
        ("a castle in the clouds", "find a castle in the clouds", "a castle in the clouds"),
        ("meet a unicorn", "meet a unicorn", "a unicorn"),
        ("Mia and Robin meet a unicorn", "meet a unicorn", "a unicorn"),
        ("Robin saves the city", "save the city", None),
        ("Mia looks for her lost dog", "find my lost dog", "her lost dog"),
        ("how the stars were made", "find out how the stars were made", None),
        ("where does the sun sleep?", "find out where the sun sleeps", None),
        ("can dogs fly?", "find out whether dogs can fly", None),
        ("my brother and me in a submarine", "be in a submarine with my brother", None),
    ],
)
def test_wish_to_do_something_is_read(wish: str, deed: str, seen: str | None) -> None:
    """As the child would say it, and what there is to be seen."""
    found = read(wish)

    assert isinstance(found, Quest)
    assert (deed, seen) == (found.deed, found.seen.first if found.seen else None)


@pytest.mark.parametrize(
    "wish",
    [
        "I don't want to go to bed!",
        "no monsters",
        "<b>ho{ho}</b>",
        "a zorkle who blorps",
        "the dragon's \N{UNICORN FACE}",
    ],
)
def test_wish_with_no_character_and_no_deed_that_are_known_is_not_understood(wish: str) -> None:
    """Nothing of it is guessed."""
    assert read(wish) is None


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ("Mia finds her tooth fell out", "lose a tooth"),
        ("fly to mars with grandma because it is fun", "fly to Mars with grandma"),
        ("first day at school", "have my first day at school"),
        ("Mia rides her bike to the sea", "ride my bike to the sea"),
    ],
)
def test_deed_is_told_as_far_as_its_words_are_known(wish: str, told: str) -> None:
    """Possessives are the child's, names have capitals, and a second sentence is left out."""
    found = read(wish)

    assert isinstance(found, Quest)
    assert told == found.deed


@pytest.mark.parametrize(
    ("wish", "pronoun"),
    [
        ("a squirrel who can't find his acorns", "he"),
        ("a spider who knits socks for her friends", "she"),
        ("a dragon who cannot sleep", "it"),
        ("two kittens who lost their mittens", "they"),
    ],
)
def test_character_has_the_pronoun_of_the_wish(wish: str, pronoun: str) -> None:
    """And the lexicon's where the wish has none."""
    found = read(wish)

    assert isinstance(found, Helping)
    assert pronoun == found.who.pronoun[0]


@pytest.mark.parametrize("person", ["teacher", "pirate", "firefighter", "girl", "grandpa", "bus driver"])
def test_person_is_no_thing(person: str) -> None:
    """Whatever the gender, it is not "it"."""
    found = read(f"a {person} who wants to fly")

    assert isinstance(found, Helping)
    assert found.who.pronoun[0] in {"he", "she"}


@pytest.mark.parametrize(
    ("given", "phrase", "category"),
    [
        ("Dragon", "dragons", "animals"),
        ("the sea", "the sea", "sea"),
        ("LEGO", "LEGO", "building"),
        ("playing football", "playing football", "sport"),
        ("play football", "playing football", "sport"),
        ("to draw", "drawing", "art"),
        ("swim", "swimming", "sea"),
        ("piano", "the piano", "music"),
        ("my cat", "his cat", "animals"),
        ("I love trains", "trains", "vehicles"),
        ("cars & trucks!", "cars and trucks", "vehicles"),
        ("Paw Patrol", "Paw Patrol", ""),
    ],
)
def test_interest_becomes_a_noun_phrase(given: str, phrase: str, category: str) -> None:
    """One that can stand after "loved", "knew about" and "of"."""
    (found,) = interests((given,), LEXICON, "him", most=5)

    assert (phrase, category) == (found.phrase, found.category)


@pytest.mark.parametrize("wish", ["Mia", "a story about Mia", "Mia and Robin", "please tell me a story about robin!"])
def test_wish_for_the_one_it_is_about_anyhow_says_nothing(wish: str) -> None:
    """The child does not go out to look for itself."""
    assert READER.names_only(wish, ("Mia", "Robin"))
    assert not READER.names_only(wish.rstrip("!") + " and a cat", ("Mia", "Robin"))


def test_interests_without_a_letter_and_those_named_twice_are_left_out() -> None:
    """Nothing remains of an emoji that could be said."""
    assert ("dragons",) == tuple(
        one.phrase for one in interests(("🦄", "Dragons", "dragon", " "), LEXICON, "her", most=5)
    )


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("owl", "an"),
        ("dragon", "a"),
        ("unicorn", "a"),
        ("unhappy bear", "an"),
        ("hour", "an"),
        ("one-eyed cat", "a"),
        ("X", "an"),
        ("UFO", "a"),
    ],
)
def test_article_goes_by_sound(phrase: str, expected: str) -> None:
    """As it is said, not as it is spelled."""
    assert expected == article(phrase)


def test_small_grammar() -> None:
    """Possessives, lists, years, titles and -ing forms."""
    assert "Thomas’s" == possessive("Thomas")
    assert "a, b and c" == joined(["a", "b", "c"])
    assert ["one year old", "six years old"] == [years(1), years(6)]
    assert "the Dragon Who Lost Its Hat in the Sea" == title_case("the dragon who lost its hat in the sea")
    assert "the Bear Who Had Nobody to Say Good Night To" == title_case("the bear who had nobody to say good night to")
    assert "the Hat That Was Lost, Which Is Sad" == title_case("the hat that was lost, which is sad")
    assert ["riding", "swimming", "drawing", "playing", "seeing", "being", "tying"] == [
        progressive(verb) for verb in ("ride", "swim", "draw", "play", "see", "be", "tie")
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("  a\n\tb\x00c\u202e  ", "a b c"),
        ("it's <i>{fun}</i> ... ", "it’s fun"),
        ("one two three", "one two"),
        ("🦄", ""),
    ],
)
def test_user_text_is_cleaned(given: str, expected: str) -> None:
    """One line, no markup, typographic apostrophes, cut at a word."""
    assert expected == clean(given, limit=10)


def test_text_is_closed_with_its_own_mark() -> None:
    """A full stop is only for what has none."""
    assert ["Share!", "Share.", ""] == [closed(text, limit=20) for text in ("Share!", "Share...", "?")]


def test_name_keeps_what_names_are_made_of() -> None:
    """And begins with a capital."""
    assert ["Jean-Luc", "D’Arcy", "Mia", ""] == [clean_name(text) for text in ("jean-Luc", "d'Arcy", "*mia*!", "?!")]


def test_stock_is_typeset() -> None:
    """Straight quotes never reach a story."""
    assert "“It’s [“a”|“b”],” said Mia." == typeset('"It\'s ["a"|"b"]," said Mia.')


def test_stock_reader_keeps_marks_fields_and_bodies() -> None:
    """The format as its module describes it."""
    (section,) = parse("# key\n@field: a, b\nOne.\n+> Two.\n\nThree.\n== tiny\nFour.\n")

    assert ("key", ("a", "b")) == (section.key, section.listed("field"))
    assert [[("One.", 0, ""), ("Two.", 1, ">")], [("Three.", 0, "")]] == [
        [(line.text, line.level, line.readers) for line in paragraph] for paragraph in section.body()
    ]
    assert ["Four."] == [line.text for line in section.lines("tiny")]


class _Named(dict[str, str]):
    """Slots that stand for themselves."""

    def __missing__(self, slot: str) -> str:
        """Returns the slot as the stock has it."""
        return f"{{{slot}}}"


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ("trip to the zoo", "go on a trip to the zoo"),
        ("Picnic in the park", "go on a picnic in the park"),
        ("visit the moon", "visit the moon"),
        ("we are going on holiday", "go on holiday"),
    ],
)
def test_outing_without_article_is_gone_on(wish: str, told: str) -> None:
    """A noun that is a verb as well, and the present in progress."""
    asked = read(wish)
    assert isinstance(asked, Quest)
    assert told == asked.deed


def test_what_belongs_to_a_character_is_not_the_childs() -> None:
    """For a boy, too, the ducklings are those of the duck."""
    asked = READER.read("a mummy duck and her ducklings", names=("Leo",), person="him", default="who could not sleep")
    assert isinstance(asked, Helping)
    assert "a mummy duck and her ducklings" == asked.who.first


def divided(line: Line) -> list[str]:
    """Returns the sentences of a line as a child of six hears them: what has joints is several."""
    joints = re.compile(" ".join(one.text for one in by_key(STOCK["phrases"])["joints"].lines()), re.VERBOSE)
    return sentence_keys(Realiser(_Named(), Random(1), band_of(6), simpler={}, joints=joints).text(line.text))


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("{c} sat down and made the very small noise which means: I have plenty of time.", 1),
        ("{c} knew which stair creaked, where the cat slept when it was not allowed to, and what it cost.", 1),
        ("{c} hummed along, where it goes up, and stopped, where it goes down, and listened.", 1),
        ("The pillow was turned over once, to its cool side, and {c} with it.", 1),
        ("A story is nothing else than such a place, and somebody who moves up for you.", 1),
        ("{c} jumped behind the open gate, and from there looked out on one side only.", 1),
        ("{c} began again at the first of them, and this time did not look at the ninth.", 1),
        ("{c} leaned over the edge, and in the water there was a face that looked back.", 2),
        ("A string had come loose in the night, and {they} tied it to the post again.", 2),
    ],
)
def test_long_sentence_is_divided_into_whole_ones(line: str, sentences: int) -> None:
    """A part without subject and verb of its own stays where it belongs."""
    joints = re.compile(" ".join(one.text for one in by_key(STOCK["phrases"])["joints"].lines()), re.VERBOSE)
    text = Realiser(_Named(), Random(1), band_of(6), simpler={}, joints=joints).text(line)
    assert sentences == len(re.findall(r"\.(?= |$)", text)), text


def test_no_two_scenes_share_a_sentence() -> None:
    """Scenes can be told in one story, so none may say what another one says; the refrain is one that returns."""
    counts = Counter(
        key
        for file in ("stations", "interests", "links", "companions")
        for section in STOCK[file]
        for line in section.lines()
        # Of the smallest's scenes nothing is divided.
        for key in (sentence_keys(line.text) if "little" in section.fields.get("in", "") else divided(line))
    )

    assert [] == [key for key, count in counts.items() if count > 1 and key != "{refrain}"]


def test_no_scene_shares_a_sentence_with_the_rest_of_the_stock() -> None:
    """Nor with what every story has: its opening, its gate, its arrival, its end."""
    where: dict[str, set[str]] = {}
    for file in sorted(STOCK.keys() - {"lexicon", "phrases"}):
        for section in STOCK[file]:
            for name in section.bodies:
                for line in section.lines(name):
                    for key in sentence_keys(line.text):
                        where.setdefault(SLOT.sub("", key), set()).add(FAMILIES.get(file, file))

    assert {} == {key: files for key, files in where.items() if len(files) > 1 and len(key) > 3}


def test_every_slot_of_the_stock_can_be_filled() -> None:
    """Whatever section is chosen, nothing in it is unknown to the casting."""
    casting = EnglishCastBuilder(STOCK, LEXICON)
    filled = {"spot", "Spot", "topic", "strength", "Strength", "trait", "traits", "card", "strengths"}
    filled |= {"loved", "count", "wtitle", "qtitle"}
    for kind, wish in itertools.product(
        ("child", "hero", "combined"), ("a dragon who cannot sleep", "to find the moon")
    ):
        filled |= set(casting.cast(brief(kind=kind, hero=HERO, sequel=SEQUEL, wish=wish)).slots)
    used = {
        slot
        for sections in STOCK.values()
        for section in sections
        for text in [*section.fields.values(), *(line.text for name in section.bodies for line in section.lines(name))]
        for slot in re.findall(r"\{(\w+)\}", text)
    }

    assert set() == used - filled
