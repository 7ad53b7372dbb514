"""The embedded writer in Russian, as its callers see it."""

import itertools
import re
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline_writer import OfflineBrief, OfflineWriter, Parent, Protagonist
from offline_writer.fitting import sentence_keys

WRITER = OfflineWriter()
MORALS = ("доброта", "честность", "смелость", "дружба", "упорство", "сочувствие", "уважение", "ответственность")
THEMES = ("лес", "море", "космос", "зима", "пираты", "школа", "волшебство", "сад", "ночь")
WISHES = (
    "история про дракона, который не может уснуть",
    "найти луну",
    "про двух котят, которые потеряли варежки",
    "полететь на Марс",
    "про медведя, у которого нет друзей",
    "про сову, которая боится высоты",
    "про кита, который мечтает увидеть горы",
    "про облако, которому грустно",
    "про рыбку, которая не умеет плавать",
    "как появились звёзды?",
    "about a dragon",
    "Зорро",
    "",
)
INTERESTS = ("динозавры", "море", "LEGO", "играть в футбол", "рисовать", "моя кошка", "небо & звёзды?!", "музыка")
SEAMS = ("{", "}", "[", "]", "@", "  ", " ,", " .", "..", "«»", ",,", "\t", "“", "”", '"', " - ", ",.", "|", "~", " !")
quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])

heroes = st.builds(
    Protagonist,
    name=st.sampled_from(["Капитан Лис", "Варвара", "zorro", "Отважный Маленький Тостер", "Маша"]),
    gender=st.sampled_from(["female", "male", ""]),
    appearance=st.sampled_from(["", "красный плащ и серебряные сапоги", "Она высокая. Глаза зелёные!"]),
    personality_traits=st.lists(st.sampled_from(["смелый", "Добрая?!", "никогда не сдаётся"]), max_size=3).map(tuple),
    strengths=st.lists(st.sampled_from(["летает", "СИЛА", "разговаривает с животными"]), max_size=3).map(tuple),
    interests=st.lists(st.sampled_from(INTERESTS), max_size=4).map(tuple),
)
briefs = st.builds(
    OfflineBrief,
    name=st.sampled_from(["Маша", "Лев", "саша", "Анна Мария", "Диего", "Mia", "Женя"]),
    age=st.one_of(st.none(), st.integers(0, 14)),
    gender=st.sampled_from(["female", "male", ""]),
    interests=st.lists(st.sampled_from(INTERESTS), max_size=5).map(tuple),
    wish=st.sampled_from(WISHES),
    moral=st.sampled_from([*MORALS, "kindness", "", "делиться весело", "Чистите зубы!"]),
    theme=st.sampled_from([*THEMES, "", "подводные царства", "space"]),
    language_code=st.sampled_from(["ru", "ru-RU", "RU_ru"]),
    length_minutes=st.integers(1, 30),
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["child", "hero", "combined"]),
    hero=heroes,
)


def brief(**changes: object) -> OfflineBrief:
    """Маша's brief of three minutes, changed."""
    fields: dict[str, object] = {
        "name": "Маша",
        "age": 6,
        "gender": "female",
        "interests": ("динозавры", "море", "рисовать"),
        "wish": "история про дракона, который не может уснуть",
        "moral": "доброта",
        "theme": "лес",
        "language_code": "ru",
        "length_minutes": 3,
        "seed": 1,
    }
    return OfflineBrief(**(fields | changes))  # type: ignore[arg-type] # the tests change fields by name


def text(asked: OfflineBrief, written_so_far: str = "") -> str:
    """Everything that the writer adds."""
    pieces = WRITER.write(asked, title_so_far="Сказка", written_so_far=written_so_far)
    return "".join(piece.text for piece in pieces)


def assert_well_formed(story: str) -> None:
    """No trace of a template, no broken spacing, quotes in pairs, and every paragraph begins as one does."""
    assert [] == [seam for seam in SEAMS if seam in story]
    assert story == story.strip()
    for paragraph in story.split("\n\n"):
        assert "\n" not in paragraph
        first = paragraph.removeprefix("— ").lstrip("«")[0]
        assert first == first.upper(), paragraph
        assert paragraph.count("«") == paragraph.count("»"), paragraph
        assert paragraph.endswith((".", "!", "?", "…", "»", ":")), paragraph
        assert not re.search(r"[.]\s+[а-яё]", paragraph), paragraph
        assert not re.search(r"(?<![—:] )(?<!«)[—,] ?[,.]", paragraph), paragraph


@quick
@given(briefs)
def test_length_repeats_and_form(asked: OfflineBrief) -> None:
    """A minute is 150 words, no sentence comes twice, and nothing of the machinery shows."""
    story = text(asked)
    counts = Counter(sentence_keys(story))

    assert 0.85 <= len(story.split()) / (150 * asked.length_minutes) <= 1.15
    assert {} == {sentence: count for sentence, count in counts.items() if count > 1}
    assert_well_formed(story)


@pytest.mark.parametrize("minutes", range(1, 31))
def test_length_is_right_for_every_minute(minutes: int) -> None:
    """With two of the morals each."""
    for seed in (minutes, minutes + 3):
        asked = brief(
            length_minutes=minutes, moral=MORALS[seed % 8], theme=THEMES[seed % 9], seed=seed, wish=WISHES[seed % 13],
        )  # fmt: skip

        assert 0.85 <= len(text(asked).split()) / (150 * minutes) <= 1.15


@settings(max_examples=5, deadline=None)
@given(briefs)
def test_going_on_from_any_sentence_changes_nothing(asked: OfflineBrief) -> None:
    """Every prefix that ends with a piece gives the rest of the same story, byte for byte."""
    pieces = [piece.text for piece in WRITER.write(asked, title_so_far="Сказка")]
    whole = "".join(pieces)
    for count in range(0, len(pieces) + 1, max(1, len(pieces) // 6)):
        written = "".join(pieces[:count])

        assert whole == written + text(asked, written)


@quick
@given(briefs.filter(lambda asked: asked.length_minutes < 6), st.floats(0, 1))
def test_going_on_from_the_middle_of_a_word_changes_nothing(asked: OfflineBrief, where: float) -> None:
    """A prefix need not end anywhere in particular."""
    whole = text(asked)
    written = whole[: int(len(whole) * where)]

    assert whole == written + text(asked, written)


BEGUN = (
    "Однажды Маша нашла на чердаке карту. Карта была старше самого дома.\n\n"
    "— Куда она ведёт? — удивился плюшевый медведь. Никто не знал."
)


@pytest.mark.parametrize("minutes", [1, 2, 4, 10, 30])
def test_goes_on_from_the_text_of_another(minutes: int) -> None:
    """To the asked length, and a cut in between changes nothing."""
    asked = brief(length_minutes=minutes)
    rest = text(asked, BEGUN)
    written = BEGUN + rest[: len(rest) // 2]

    assert 0.8 <= len((BEGUN + rest).split()) / (150 * minutes) <= 1.2
    assert_well_formed(BEGUN + rest)
    assert BEGUN + rest == written + text(asked, written)


def test_sentence_left_hanging_trails_off() -> None:
    """And the rest begins a sentence of its own."""
    assert re.match(r"… ?\n*[А-ЯЁ]", text(brief(), "Однажды Маша нашла на чердаке"))


def test_same_brief_gives_the_same_story() -> None:
    """On another writer too."""
    assert list(WRITER.write(brief())) == list(OfflineWriter().write(brief()))


def test_story_is_the_one_that_other_machines_write() -> None:
    """The seed goes through a digest, so the title does not depend on the process."""
    assert "Маша и дракон, который не может уснуть" == next(WRITER.write(brief())).text


def test_seeds_give_different_stories() -> None:
    """Stories of one brief share few sentences."""
    stories = [text(brief(length_minutes=5, seed=seed)) for seed in range(6)]
    shared = [
        len(set(sentence_keys(one)) & set(sentence_keys(other))) / len(sentence_keys(one))
        for at, one in enumerate(stories)
        for other in stories[at + 1 :]
    ]

    assert 6 == len(set(stories))
    assert sum(shared) / len(shared) < 0.6


@pytest.mark.parametrize(
    ("name", "gender", "wrong"),
    [
        ("Маша", "female", r"Маша (?:\w+ )?\w+(?:лся|ал|ил|ел|ёл)\b"),
        ("Лев", "male", r"Лев (?:\w+ )?\w+(?:лась|ала|ила|ела|шла)\b"),
        (
            "Саша",
            "",
            r"(?:(?<!по имени )\bСаша (?:\w+ )?\w+(?:ась|ся|[аие]ла?|шёл|шла)|[Мм]алыш (?:\w+ )?\w+(?:ла|лась))\b",
        ),
    ],
)
def test_verbs_agree_with_the_child(name: str, gender: str, wrong: str) -> None:
    """A girl went, a boy went; where nobody said, the little one did."""
    for seed in range(8):
        story = text(brief(name=name, gender=gender, length_minutes=10, seed=seed, moral=MORALS[seed]))

        assert [] == re.findall(wrong, story)
        assert name in story


@pytest.mark.parametrize("name", ["Диего", "Зюзюка", "Mia"])
@pytest.mark.parametrize("gender", ["female", "male", ""])
def test_unknown_name_keeps_its_form(name: str, gender: str) -> None:
    """And never stands after a preposition that would ask for a case."""
    story = text(brief(name=name, gender=gender, length_minutes=10))

    assert name in story
    assert not re.search(rf"\b(?:к|ко|с|со|у|за|от|для|про|о|об|на|перед) {name}\b", story)


@pytest.mark.parametrize(
    ("moral", "key"),
    [
        ("доброта", "шарф|бутерброд"),
        ("kindness", "шарф|бутерброд"),
        ("честность", "узор|медал"),
        ("honesty", "узор|медал"),
        ("смелость", "темнот|мостик"),
        ("храбрость", "темнот|мостик"),
        ("bravery", "темнот|мостик"),
        ("дружба", "поссорились|одному"),
        ("friendship", "поссорились|одному"),
        ("упорство", "узел|лестниц"),
        ("perseverance", "узел|лестниц"),
        ("сочувствие", "больно|праздник"),
        ("отзывчивость", "больно|праздник"),
        ("empathy", "больно|праздник"),
        ("уважение", "Здравствуйте|песн"),
        ("respect", "Здравствуйте|песн"),
        ("ответственность", "огонёк|огонь|яйцо"),
        ("responsibility", "огонёк|огонь|яйцо"),
        ("Делиться весело!", "«Делиться весело!»"),
    ],
)
@pytest.mark.parametrize("minutes", [1, 4])
def test_moral_shapes_the_obstacle(moral: str, key: str, minutes: int) -> None:
    """Each has scenes of its own, in either language; a moral in free words is found by the child."""
    assert re.search(key, text(brief(moral=moral, length_minutes=minutes)))


@pytest.mark.parametrize(
    ("theme", "place"),
    [
        ("лес", "Шёпотн"), ("forest", "Шёпотн"), ("море", "Сонн"), ("sea", "Сонн"), ("космос", "Звёздны"),
        ("space", "Звёздны"), ("зима", "Белая|Белую"), ("winter", "Белая|Белую"), ("пираты", "Заливов|Заливы"),
        ("школа", "Ночная школа|Ночную школу"), ("волшебство", "Наоборотных"), ("magic", "Наоборотных"),
        ("сад", "Сад-за"), ("ночь", "Город Фонарей"), ("про рыцарей и замки", "Наоборотных"),
    ],
)  # fmt: skip
def test_theme_gives_the_place(theme: str, place: str) -> None:
    """In Russian and in English words."""
    assert re.search(place, text(brief(theme=theme, length_minutes=4)))


@pytest.mark.parametrize("minutes", [1, 3, 10])
def test_child_interests_and_wish_are_in_the_story(minutes: int) -> None:
    """Name, age, each interest and the wish's subject."""
    story = text(brief(length_minutes=minutes, interests=("динозавры", "LEGO", "рисовать")))

    for part in ("Маша", "шесть лет", "динозавры", "LEGO", "рисовать", "дракона, который не может уснуть"):
        assert part in story


@pytest.mark.parametrize("minutes", [1, 5])
def test_theme_in_free_words_is_carried_as_it_is(minutes: int) -> None:
    """Between guillemets."""
    assert "«подводные царства»." in text(brief(theme="подводные царства", length_minutes=minutes))


def test_age_that_nobody_said_is_not_told() -> None:
    """And nothing is left where it would have stood."""
    assert not re.search(r"\bбыло? \w+ (?:год|лет)", text(brief(age=None)))


def test_letters_without_a_name_in_unicode_are_taken() -> None:
    """Tangut, of which the dictionary's library raises an error."""
    assert text(brief(wish="\U00017000 летит", theme="\U00017000", interests=("\U00017000\U00017001",)))


@quick
@given(
    st.builds(
        OfflineBrief,
        name=st.text(max_size=60),
        age=st.integers(-3, 200),
        gender=st.sampled_from(["female", "male", ""]),
        interests=st.lists(st.text("абвя яё.,!«»{}<>a", max_size=40), max_size=8).map(tuple),
        wish=st.text("который про о найти дракона,.!{}«»Aa", max_size=120),
        moral=st.text(max_size=200),
        theme=st.text(max_size=200),
        language_code=st.just("ru"),
        length_minutes=st.integers(1, 6),
        seed=st.integers(-(2**63), 2**63),
    )
)
def test_any_text_is_taken(asked: OfflineBrief) -> None:
    """Whatever stands in the fields, a story of the right length comes of it."""
    title, *pieces = WRITER.write(asked)
    story = "".join(piece.text for piece in pieces)

    assert title.text == " ".join(title.text.split())
    assert [] == [seam for seam in ("{", "}", "  ", "..", "\t", "<", "*", "#") if seam in story + title.text]
    assert 0.8 <= len(story.split()) / (150 * asked.length_minutes) <= 1.2


@pytest.mark.parametrize("minutes", [1, 5])
def test_sequel_goes_on_with_the_same_companion(minutes: int) -> None:
    """It names the story before, and whoever went along then comes back."""
    before = brief(length_minutes=minutes, seed=4)
    title = next(WRITER.write(before)).text
    companion = next(name for name in ("Дуня", "Рыжик", "Тимошка", "Марфа Ильинична") if name in text(before))
    for seed in range(5):
        asked = brief(
            length_minutes=minutes, seed=seed, sequel=Parent(title=title, text=text(before)), wish="",
        )  # fmt: skip
        story = text(asked)

        assert f"«{title}»" in story
        assert companion in story
        assert 0.85 <= len(story.split()) / (150 * minutes) <= 1.15
        assert_well_formed(story)


@pytest.mark.parametrize("gender", ["female", "male", ""])
@pytest.mark.parametrize("name", ["Капитан Лис", "Zorro", "Илья", "?!"])
def test_hero_goes_along_with_the_child(name: str, gender: str) -> None:
    """By name in the title, with looks and qualities in their own words, at every length."""
    hero = Protagonist(name=name, gender=gender, appearance="красный плащ", strengths=("летает",))  # type: ignore[arg-type]
    for minutes in (1, 2, 5, 10):
        asked = brief(kind="combined", hero=hero, length_minutes=minutes, seed=minutes)
        title, *pieces = WRITER.write(asked)
        story = "".join(piece.text for piece in pieces)

        assert 0.85 <= len(story.split()) / (150 * minutes) <= 1.15
        assert name == "?!" or (name in title.text and name in story)
        assert minutes < 5 or ("красный плащ" in story and "летает" in story)
        assert_well_formed(story)


@pytest.mark.parametrize("gender", ["female", "male", ""])
@pytest.mark.parametrize("name", ["Капитан Лис", "Варвара", "Zorro", "?!"])
def test_story_about_a_hero_is_told_to_the_child(name: str, gender: str) -> None:
    """The hero stands in the title and does what is done, and the child is spoken to, at every length."""
    hero = Protagonist(
        name=name,
        gender=gender,  # type: ignore[arg-type] # parametrised
        appearance="красный плащ",
        strengths=("летает",),
        interests=("звёзды",),
    )
    for minutes, seed in itertools.product((1, 2, 5, 10), range(3)):
        asked = brief(kind="hero", hero=hero, length_minutes=minutes, seed=seed)
        title, *pieces = WRITER.write(asked)
        story = "".join(piece.text for piece in pieces)

        assert 0.85 <= len(story.split()) / (150 * minutes) <= 1.15
        assert name == "?!" or (name in title.text and name in story)
        assert asked.name in story
        assert asked.name not in title.text
        assert minutes < 5 or ("красный плащ" in story and "летает" in story)
        assert_well_formed(story)


def test_hero_of_the_child_s_name_is_not_told_of_himself() -> None:
    """Nobody is spoken to then, since that would be the hero."""
    hero = Protagonist(name="Маша", gender="female")
    for seed in range(8):
        story = text(brief(name="маша", kind="hero", hero=hero, seed=seed))

        assert "Слушай" not in story
        assert "очередь" not in story


@pytest.mark.parametrize("previous", ["Капитан Лис и море", ""])
def test_sequel_about_a_hero_remembers_the_adventure(previous: str) -> None:
    """By its title where there is one; the child was not part of it."""
    hero = Protagonist(name="Капитан Лис", gender="male")
    sequel = Parent(title=previous, text="Однажды ночью Капитан Лис отправился в море.")
    story = text(brief(kind="hero", hero=hero, length_minutes=5, sequel=sequel))

    assert (f"«{previous}»" in story) is bool(previous)
    assert "иключение" in story


@pytest.mark.long
@pytest.mark.timeout(1_800)
@settings(max_examples=1_500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(briefs)
def test_thousands_of_briefs(asked: OfflineBrief) -> None:
    """The same as in the quick test, for long."""
    test_length_repeats_and_form.hypothesis.inner_test(asked)  # type: ignore[attr-defined] # set by hypothesis
