"""Words that a story was to avoid are found in it, in whatever form they stand there."""

import pytest

from story_service.answer.avoided import avoided_in


@pytest.mark.parametrize(
    ("language_code", "text", "avoid"),
    [
        ("en", "Two Spiders sat there.", "spider"),
        ("en-GB", "The storm was over.", "a storm"),
        ("en", "They heard the big bad dogs.", "a big bad dog"),
        ("de", "Die Stürme legten sich.", "ein Sturm"),
        ("es", "Vio dos arañas.", "la araña"),
        ("fr", "Les araignées dormaient.", "une araignée"),
        ("pt-BR", "As aranhas dormiam.", "aranha"),
        ("it", "Tre ragni dormivano.", "ragno"),
        ("pl", "Były tam pająki.", "pająk"),
        ("tr", "Örümcekler uyudu.", "örümcek"),
        ("ru", "Мия видела много пауков.", "паук"),
        ("ru", "После грозы стало тихо.", "гроза"),
        ("uk", "Прийшла буря.", "Буря"),
        ("hi", "वहाँ मकड़ियों का घर था।", "मकड़ी"),
        ("ar", "هدأت العاصفة.", "عاصفة"),
        ("zh", "森林里有一只蜘蛛。", "蜘蛛"),
        ("ja", "大きなクモがいました。", "クモ"),
        ("ko", "거미가 잠들었다.", "거미"),
        ("cy", "Roedd Corryn yno.", "corryn"),
    ],
)
def test_avoided_word_is_found_in_its_forms(language_code: str, text: str, avoid: str) -> None:
    """In every language that is offered, with and without blanks between words."""
    assert avoided_in(text, ["ghosts", avoid], language_code) in {(1,), (0, 1)}


@pytest.mark.parametrize(
    ("language_code", "text", "avoid"),
    [
        ("en", "The cattle went home.", "cat"),
        ("en", "A bear who was not big.", "a big bear"),
        ("en", "It was night.", "!!!"),
        ("ru", "Паутинка блестела.", "паук"),
        ("cy", "Addysg dda.", "dd"),
    ],
)
def test_other_words_are_no_avoided_ones(language_code: str, text: str, avoid: str) -> None:
    """A part of a word, or words that stand apart, are not meant."""
    assert avoided_in(text, [avoid], language_code) == ()
