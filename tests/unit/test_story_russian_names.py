"""Russian names in the cases: the forms are written down by hand, as a Russian would say them."""

import pytest

from offline_writer.russian.grammar import CASES, Morphology, about, to, with_
from offline_writer.russian.names import child, declined, gender_of

MORPHOLOGY = Morphology()


@pytest.mark.parametrize(
    ("gender", "forms"),
    [
        ("female", "Маша Маши Маше Машу Машей Маше"),
        ("female", "Даша Даши Даше Дашу Дашей Даше"),
        ("female", "Соня Сони Соне Соню Соней Соне"),
        ("female", "Мия Мии Мии Мию Мией Мии"),
        ("female", "Анна Анны Анне Анну Анной Анне"),
        ("female", "Ева Евы Еве Еву Евой Еве"),
        ("female", "Зоя Зои Зое Зою Зоей Зое"),
        ("female", "Любовь Любови Любови Любовь Любовью Любови"),
        ("female", "Мария Марии Марии Марию Марией Марии"),
        ("female", "Ксения Ксении Ксении Ксению Ксенией Ксении"),
        ("female", "Наталья Натальи Наталье Наталью Натальей Наталье"),
        ("female", "Дарья Дарьи Дарье Дарью Дарьей Дарье"),
        ("female", "Алёна Алёны Алёне Алёну Алёной Алёне"),
        ("female", "Василиса Василисы Василисе Василису Василисой Василисе"),
        ("female", "Ольга Ольги Ольге Ольгу Ольгой Ольге"),
        ("female", "Саша Саши Саше Сашу Сашей Саше"),
        ("male", "Саша Саши Саше Сашу Сашей Саше"),
        ("female", "Женя Жени Жене Женю Женей Жене"),
        ("male", "Женя Жени Жене Женю Женей Жене"),
        ("male", "Лев Льва Льву Льва Львом Льве"),
        ("male", "Павел Павла Павлу Павла Павлом Павле"),
        ("male", "Илья Ильи Илье Илью Ильёй Илье"),
        ("male", "Никита Никиты Никите Никиту Никитой Никите"),
        ("male", "Игорь Игоря Игорю Игоря Игорем Игоре"),
        ("male", "Андрей Андрея Андрею Андрея Андреем Андрее"),
        ("male", "Пётр Петра Петру Петра Петром Петре"),
        ("male", "Фёдор Фёдора Фёдору Фёдора Фёдором Фёдоре"),
        ("male", "Арсений Арсения Арсению Арсения Арсением Арсении"),
        ("male", "Тимур Тимура Тимуру Тимура Тимуром Тимуре"),
        ("male", "Миша Миши Мише Мишу Мишей Мише"),
        ("male", "Матвей Матвея Матвею Матвея Матвеем Матвее"),
        ("male", "Марк Марка Марку Марка Марком Марке"),
        ("male", "Артём Артёма Артёму Артёма Артёмом Артёме"),
    ],
)
def test_name_is_declined(gender: str, forms: str) -> None:
    """All six cases."""
    expected = forms.split()
    cases = child(expected[0], gender, 6, MORPHOLOGY).cases

    assert expected == [cases[case] for case in CASES]


@pytest.mark.parametrize("name", ["Диего", "Зюзюка", "Mia", "Noah", "Шри Нанда"])
@pytest.mark.parametrize(("gender", "noun"), [("female", "девочки"), ("male", "мальчика")])
def test_name_without_known_cases_stays_in_the_nominative(name: str, gender: str, noun: str) -> None:
    """Where a case is needed a noun stands for it."""
    who = child(name, gender, 6, MORPHOLOGY)

    assert (name, noun) == (who.cases["nom"], who.cases["gen"])
    assert name not in [who.cases[case] for case in CASES[1:]]


def test_two_names_are_declined_together() -> None:
    """With a space or with a hyphen; not where one of them has no cases."""
    assert "Анны Марии" == (declined("Анна Мария", "femn", MORPHOLOGY) or {})["gen"]
    assert "Анны-Марии" == (declined("Анна-Мария", "femn", MORPHOLOGY) or {})["gen"]
    assert declined("Анна Смит-Зюзю", "femn", MORPHOLOGY) is None


@pytest.mark.parametrize(("name", "gender"), [("Мария", "f"), ("Игорь", "m"), ("Саша", None), ("Mia", None)])
def test_russian_name_says_what_agrees_with_it(name: str, gender: str | None) -> None:
    """Where only one reading is possible."""
    assert gender == gender_of(name, MORPHOLOGY)


@pytest.mark.parametrize(("age", "noun"), [(4, "малыш"), (None, "малыш"), (9, "ребёнок")])
def test_child_of_unknown_gender_is_spoken_of_by_a_common_noun(age: int | None, noun: str) -> None:
    """The name stands beside it at first, and in the cases, which are the same for both."""
    who = child("Саша", "", age, MORPHOLOGY)

    assert (noun, f"{noun} по имени Саша", "Сашу") == (who.cases["nom"], who.first, who.cases["acc"])


def test_child_without_a_name_is_a_noun() -> None:
    """Nothing is left of some names after cleaning."""
    who = child("", "female", 6, MORPHOLOGY)

    assert ("девочка", "девочка") == (who.name, who.first)


def test_prepositions_lean_on_the_name() -> None:
    """Со Львом, ко Льву, об Арсении."""
    assert ["со", "с", "ко", "к", "об", "о"] == [
        with_("Львом"), with_("Машей"), to("Льву"), to("Маше"), about("Арсении"), about("Маше"),
    ]  # fmt: skip
