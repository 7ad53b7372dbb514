"""Russian grammar of the embedded writer: wishes read, interests made lovable, numbers agreeing."""

import re
from collections import Counter
from importlib import resources

import pytest

from offline_writer import OfflineBrief
from offline_writer.cast import Helping, Quest
from offline_writer.fitting import sentence_keys
from offline_writer.russian.cast import RussianCastBuilder
from offline_writer.russian.grammar import CASES, Agreement, Morphology
from offline_writer.russian.interests import InterestReader, named
from offline_writer.russian.nouns import NounReader
from offline_writer.russian.wish import WishReader
from offline_writer.stock import load

STOCK = load(resources.files("offline_writer.russian") / "stock")
MORPHOLOGY = Morphology()
NOUNS = NounReader(MORPHOLOGY, STOCK["grammar"])
WISHES = WishReader(MORPHOLOGY, NOUNS, STOCK["grammar"])
INTERESTS = InterestReader(MORPHOLOGY, NOUNS, STOCK["lexicon"])


@pytest.mark.parametrize(
    ("given", "phrase", "category"),
    [
        ("динозавры", "динозавры", "dinosaurs"),
        ("динозавр", "динозавр", "dinosaurs"),
        ("Кошки", "кошки", "animals"),
        ("море", "море", "sea"),
        ("рисовать", "рисовать", "art"),
        ("рисование", "рисование", "art"),
        ("играть в футбол", "играть в футбол", "sport"),
        ("машина", "машина", "vehicles"),
        ("моя кошка", "кошка", "animals"),
        ("мой щенок", "щенок", "animals"),
        ("большие машины", "большие машины", "vehicles"),
        ("люблю поезда", "поезда", "vehicles"),
        ("я люблю кошек", "кошки", "animals"),
        ("звёзды", "звёзды", "space"),
        ("цветы", "цветы", "nature"),
        ("музыка", "музыка", "music"),
        ("LEGO", "LEGO", "building"),
        ("Лунтик", "Лунтик", ""),
    ],
)
def test_interest_stands_alone(given: str, phrase: str, category: str) -> None:
    """In the nominative, without what is said of it."""
    found = INTERESTS.read(given)

    assert found is not None
    assert (phrase, category) == (found.phrase, found.category)


def test_things_and_deeds_are_listed_apart() -> None:
    """A noun and an infinitive make no pair."""
    found = INTERESTS.all(("рисовать", "море", "кошки", "🦄", "Море", "петь"), most=5)

    assert "море и кошки, а ещё рисовать и петь" == named(found)


@pytest.mark.parametrize(
    ("wish", "who", "kind", "clause"),
    [
        ("история про дракона, который не может уснуть", "дракон", "sleep", "который не может уснуть"),
        ("Расскажи сказку о драконе, который не может уснуть!", "дракон", "sleep", "который не может уснуть"),
        ("про медведя, у которого нет друзей", "медведь", "lonely", "у которого нет друзей"),
        ("про двух котят, которые потеряли варежки", "два котёнка", "lost", "которые потеряли варежки"),
        ("о трёх медвежатах, которые ищут луну", "три медвежонка", "lost", "которые ищут луну"),
        ("про сову, которая боится высоты", "сова", "afraid", "которая боится высоты"),
        ("про рыбку, которая не умеет плавать", "рыбка", "cannot", "которая не умеет плавать"),
        ("про кита, который мечтает увидеть горы", "кит", "wants", "который мечтает увидеть горы"),
        ("маленький ёжик, который очень добрый", "маленький ёжик", "trait", "который очень добрый"),
        ("про маленькую храбрую мышку", "маленькая храбрая мышка", "trait", ""),
        ("про динозавров", "динозавры", "trait", ""),
        ("про кота и собаку", "кот и собака", "trait", ""),
        ("про Чиполлино", "Чиполлино", "trait", ""),
        ("про дракончика, который боится темноты", "дракончик", "afraid", "который боится темноты"),
        ("про старого паровозика", "старый паровозик", "trait", ""),
        ("про Деда Мороза, который заблудился", "Дед Мороз", "lost", "который заблудился"),
        ("Зюзюка", "Зюзюка", "trait", ""),
        ("про медведя Мишу", "медведь Миша", "trait", ""),
        ("про фею Динь-Динь", "фея Динь-Динь", "trait", ""),
        ("про щенка без хвоста", "щенок без хвоста", "trait", ""),
        ("про машу и витю", "Маша и Витя", "trait", ""),
        ("про кота Барсика", "кот Барсик", "trait", ""),
        ("про Красную Шапочку", "Красная Шапочка", "trait", ""),
        ("сказка о том, как зайчик нашёл друга", "зайчик", "wants", "который нашёл друга"),
        ("добрая сова боится ночи", "добрая сова", "afraid", "которая боится ночи"),
    ],
)
def test_wish_about_somebody_is_read(wish: str, who: str, kind: str, clause: str) -> None:
    """Who it is, in the nominative, and what troubles them."""
    found = WISHES.read(wish, name="Маша")

    assert isinstance(found, Helping)
    assert (who, kind, clause) == (found.who.forms["nom"], found.trouble.kind, found.trouble.clause)


def test_every_wish_of_the_stock_is_understood() -> None:
    """A child that wishes for nothing gets a story about somebody."""
    (wishes,) = (section for section in STOCK["phrases"] if section.key == "wishes")

    assert None not in [WISHES.read(line.text, name="Маша") for line in wishes.lines()]


@pytest.mark.parametrize(
    ("wish", "deed", "seen"),
    [
        ("найти луну", "найти луну", "луна"),
        ("Хочу полететь на Марс", "полететь на Марс", None),
        ("я хочу найти мою собаку", "найти свою собаку", "собака"),
        ("хочу научиться плавать", "научиться плавать", None),
        ("про то, как Маша подружилась с дельфином", "подружиться с дельфином", None),
        ("как мы с папой ловили рыбу", "ловить рыбу", None),
        ("хочу на море", "отправиться на море", None),
        ("про мою бабушку и меня", "приготовить сюрприз для бабушки", None),
        ("хочу щенка", "встретить щенка", "щенок"),
        ("о дружбе", "узнать, что такое дружба", None),
        ("про замок в облаках", "увидеть замок в облаках", "замок в облаках"),
        ("увидеть северное сияние", "увидеть северное сияние", "северное сияние"),
    ],
)
def test_wish_to_do_something_is_read(wish: str, deed: str, seen: str | None) -> None:
    """An infinitive, and what there is to be seen."""
    found = WISHES.read(wish, name="Маша")

    assert isinstance(found, Quest)
    assert (deed, seen) == (found.deed, found.seen.forms["nom"] if found.seen else None)


@pytest.mark.parametrize(
    "wish",
    ["как появились звёзды?", "Я не хочу спать!", "a story about a dragon", "про Машу", "про зюзюку", "фыва", "чтобы"],
)
def test_any_other_wish_is_refused(wish: str) -> None:
    """Nothing of it is guessed."""
    assert WISHES.read(wish, name="Маша") is None


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("серого кота", "серый кот|серого кота|серому коту|серого кота|серым котом|сером коте"),
        ("старую лодку", "старая лодка|старой лодки|старой лодке|старую лодку|старой лодкой|старой лодке"),
        ("двух котят", "два котёнка|двух котят|двум котятам|двух котят|двумя котятами|двух котятах"),
        ("облако", "облако|облака|облаку|облако|облаком|облаке"),
    ],
)
def test_noun_phrase_is_declined(text: str, forms: str) -> None:
    """Adjectives and numerals agree."""
    read = NOUNS.read(text, "acc")

    assert read is not None
    assert forms.split("|") == [read.forms[case] for case in CASES]


def test_endings_have_a_form_for_every_gender() -> None:
    """Сказал, сказала, сказало, сказали."""
    agreement = Agreement(STOCK["grammar"])

    assert ["", "а", "о", "и"] == [agreement.slots(gender)["а"] for gender in ("m", "f", "n", "pl")]
    assert {"он_p": "она"}.items() <= agreement.slots("f", "_p").items()


def test_no_two_scenes_share_a_sentence() -> None:
    """Scenes can be told in one story, so none may say what another one says."""
    counts = Counter(
        key
        for file in ("stations", "interests", "links", "companions")
        for section in STOCK[file]
        for line in section.lines()
        for key in sentence_keys(line.text)
    )

    assert [] == [key for key, count in counts.items() if count > 1]


def test_every_slot_of_the_stock_can_be_filled() -> None:
    """Whatever section is chosen, nothing in it is unknown to the casting."""
    casting = RussianCastBuilder(STOCK, MORPHOLOGY)
    filled = {"spot", "Spot", "topic", "loved", "previous"}
    for wish in ("про дракона, который не может уснуть", "найти луну"):
        brief = OfflineBrief(
            name="Маша", age=6, gender="", interests=(), wish=wish, moral="", theme="", language_code="ru",
            length_minutes=5, seed=1,
        )  # fmt: skip
        filled |= set(casting.cast(brief).slots)
    used = {
        slot
        for sections in STOCK.values()
        for section in sections
        for text in [*section.fields.values(), *(line.text for name in section.bodies for line in section.lines(name))]
        for slot in re.findall(r"\{(\w+)\}", text)
    }

    assert set() == used - filled


def test_stock_is_typeset() -> None:
    """Guillemets in pairs, dashes for speech, and no straight or English quotes."""
    prose = [sections for file, sections in STOCK.items() if file not in {"lexicon", "topics", "suitable"}]
    sections = [section for part in prose for section in part]
    lines = [line.text for section in sections for name in section.bodies for line in section.lines(name)]
    wrong = re.compile(r"[\"“”'’]|(?<=\s)-(?=\s)|\.\.\.|[a-z]")

    assert [] == [line for line in lines if line.count("«") != line.count("»")]
    assert [] == [line for line in lines if wrong.search(re.sub(r"\{\w+\}|@\w+", "", line))]
