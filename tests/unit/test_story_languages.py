"""Stories in another language than requested."""

import asyncio
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from support.offline_briefs import brief
from support.story_languages import IN_OTHER_LANGUAGES
from support.story_models import TEXT, TITLE, WHOLE, joined

from offline_writer import OfflineWriter, Outline
from servicekit.languages import LanguageDetector
from story_service.assignment import Assignment, Listener
from story_service.chat import ChatDelta, ChatEnded
from story_service.errors import WrongLanguageError
from story_service.generation.model_answer import CallFacts
from story_service.generation.writing_attempt import WritingAttempt
from story_service.ports import AttemptText, AttemptTitle, Spending

_STORIES = {"en": WHOLE, **IN_OTHER_LANGUAGES}


@pytest.fixture(scope="module")
def languages() -> LanguageDetector:
    """A detector with its model."""
    detector = LanguageDetector()
    asyncio.run(detector.load())
    return detector


@pytest.mark.parametrize("requested", _STORIES)
def test_languages_are_told_apart(languages: LanguageDetector, requested: str) -> None:
    """Every story is found in its own language, and in no other."""
    found = {code: languages.other_language(requested, text) for code, text in _STORIES.items()}

    assert {code: "" if code == requested else code for code in _STORIES} == found


@pytest.mark.parametrize("code", [*_STORIES, "zh-Hans", "pt", "no", "gl", "zh-TW"])
def test_regions_scripts_and_relatives_are_the_same_language(languages: LanguageDetector, code: str) -> None:
    """A story in Spanish is not refused as one in Galician, nor one with a region in its code."""
    related = {"pt": "es", "gl": "es", "no": "sv"}
    language = related.get(code, code.partition("-")[0])

    assert "" == languages.other_language(code, _STORIES[language])
    assert "" == languages.other_language(f"{code.partition('-')[0]}-XX", _STORIES[language])


@pytest.mark.parametrize(
    ("requested", "text"),
    [
        (
            "en",
            "Baa baa, moo moo, tra la la. Zzz, shh, hush! Tick tock, tick tock, ding dong, cuckoo, cuckoo.",
        ),
        (
            "en",
            "Señor Rodríguez de Guadalajara and Amélie Dubois du Château Lumière danced with Jürgen Müller.",
        ),
        (
            "en",
            "“Bonne nuit, ma petite,” said Grandmère. “Fais de beaux rêves.” Mia laughed, and fell asleep.",
        ),
        (
            "de",
            "Mia rief: „Good night, sleep tight, see you tomorrow!“ Dann schlief sie tief und fest ein.",
        ),
        (
            "ru",
            "Робот Bip-Bop 3000 сказал: «Hello, my friend!» И Мия засмеялась, потому что всё поняла.",
        ),
        ("ja", "ミアは「Good night, little star!」と言いました。そしてみんなはしずかにねむりました。よかったですね。"),
        ("en", "123 456 789 !!! ??? ... 🙂🙂🙂"),
        (
            "xx",
            "Anything at all may be written in a language of which nothing is known, and nothing is held against it.",
        ),
    ],
)
def test_names_noises_and_foreign_words_fail_no_story(languages: LanguageDetector, requested: str, text: str) -> None:
    """Only a text that is certainly in another language is."""
    assert "" == languages.other_language(requested, text)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_no_passage_of_a_real_story_is_in_another_language(languages: LanguageDetector, language: str) -> None:
    """Wherever it begins, and however long it is."""
    for seed in range(5):
        pieces = OfflineWriter().write(brief(language_code=language, seed=seed, length_minutes=2))
        words = "".join(piece.text for piece in pieces if piece.kind != "title").split()
        for start in range(0, len(words) - 60, 20):
            for length in (12, 25, 60):
                assert "" == languages.other_language(language, " ".join(words[start : start + length]))


def test_script_is_decided_by_a_few_words(languages: LanguageDetector) -> None:
    """Long before the language is."""
    assert languages.other_language("ja", "Once upon a time there was a fox.")
    assert languages.other_language("en", "Жила-была маленькая лисичка.")
    assert "" == languages.other_language("de", "Once upon a time there was a fox.")


@pytest.mark.parametrize(
    ("language", "title", "may_be"),
    [
        ("en", TITLE, True),
        ("en", "Mia", True),
        ("de", "Das Licht der Eule", True),
        ("de", "Mia und Robin", True),
        ("ja", "ふくろうのあかり", True),
        ("ja", TITLE, False),
        ("ru", TITLE, False),
        ("de", "The Little Owl Who Could Not Find Her Way Home", False),
    ],
)
def test_title_waits_for_the_text_where_it_may_be_in_another_language(
    languages: LanguageDetector, language: str, title: str, may_be: bool
) -> None:
    """A title that is released stays."""
    assert may_be is languages.may_be(language, title)


async def _told(languages: LanguageDetector, language: str, answer: str) -> list[AttemptTitle | AttemptText | Outline]:
    assignment = Assignment(story_id="id", child=Listener(name="Mia"), length_minutes=1, language_code=language)
    attempt = WritingAttempt(
        CallFacts(model="m", provider="fake", start_time=datetime.now(UTC)), assignment, languages=languages
    )
    bounds = [*range(0, len(answer), 9), len(answer)]
    items = [item for a, b in pairwise(bounds) for item in attempt.take(ChatDelta(answer[a:b]))]
    ended = ChatEnded(generation_id="g", model="m", provider_name="", finish_reason="", spending=Spending(), created=0)
    return [*items, *attempt.take(ended)]


@pytest.mark.parametrize("language", IN_OTHER_LANGUAGES)
async def test_nothing_of_a_story_in_another_language_is_released(languages: LanguageDetector, language: str) -> None:
    """Its first sentences are checked before."""
    with pytest.raises(WrongLanguageError) as caught:
        await _told(languages, language, WHOLE)

    assert (language, "en") == (caught.value.requested, caught.value.found)


@pytest.mark.parametrize("language", IN_OTHER_LANGUAGES)
async def test_stories_in_the_requested_language_are_released_whole(languages: LanguageDetector, language: str) -> None:
    """Title and text."""
    title, *texts = await _told(languages, language, IN_OTHER_LANGUAGES[language])

    assert isinstance(title, AttemptTitle)
    assert IN_OTHER_LANGUAGES[language] == "\n\n".join(
        (title.title, "".join(item.text for item in texts if isinstance(item, AttemptText)))
    )


async def test_story_that_begins_with_a_foreign_song_is_told(languages: LanguageDetector) -> None:
    """It is held until the story shows its language."""
    song = "Duérmete niña, duérmete ya, que viene la luna y te cantará. Duérmete niña, que las estrellas te cuidarán."
    title, *texts = await _told(languages, "en", f"{TITLE}\n\n{song} {joined(10)}")

    assert AttemptTitle(TITLE) == title
    assert f"{song} {joined(10)}" == "".join(item.text for item in texts if isinstance(item, AttemptText))


async def test_title_of_a_story_in_the_right_language_comes_first_of_all(languages: LanguageDetector) -> None:
    """Before the text that decides."""
    items = await _told(languages, "en", f"{TITLE}\n\n{TEXT}")

    assert AttemptTitle(TITLE) == items[0]
