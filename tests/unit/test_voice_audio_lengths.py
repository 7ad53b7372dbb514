"""Which length is plausible for a text: by script and language, and by the pace that a voice has shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.voice_samples import ENGLISH

from voice_service.audio.lengths import Lengths, duration_bounds
from voice_service.ports import SegmentRequest, VoiceSettings

USUAL = 0.066
"""Seconds a character of an English voice."""
MOUSE = (
    "And then the small grey mouse who had been living under the old stairs for as long as anyone could remember went "
    "out through the little hole beside the kitchen door and into the garden where the moon was shining brightly"
)
OWL = (
    "Once upon a time there was a little owl that lived in an old oak tree. Every evening she lit a lantern, so that "
    "everyone in the forest could find the way home."
)
SENTENCES = [f"{each.strip()}." for each in ENGLISH.replace("\n", " ").split(".") if len(each) > 40]


@pytest.mark.parametrize("text", ["…", "🐉🌙", "* * *", "—", "?!", "[whispering]", "(sighs)", "[laughs softly] …"])
def test_texts_without_words_have_no_minimum(text: str) -> None:
    """A mark, a picture and a direction may be silence."""
    assert duration_bounds(text).admit(1152 / 44_100)


@pytest.mark.parametrize(
    ("text", "language_code", "spoken"),
    [
        ("Mia", "en", 0.35), ("The End", "en", 0.5), ("Zzzzzzzzzzzzzzzzzzzzzzzzzzzzz!", "en", 0.3), ("Oh!", "en", 0.15),
        ("Through thought", "en", 0.6), ("晚安", "zh", 0.45), ("おやすみ", "ja", 0.5), ("잘 자", "ko", 0.4),
        ("Спи", "ru", 0.3), ("शुभ रात्रि", "hi", 0.7), ("ราตรีสวัสดิ์", "th", 0.8), ("لَيْلَةٌ سَعِيدَة", "ar", 0.8),
    ],
)  # fmt: skip
def test_a_title_takes_its_time(text: str, language_code: str, spoken: float) -> None:
    """As a quick voice reads it, and not in the length of two bytes, a frame or a twentieth of a second."""
    bounds = duration_bounds(text, None, language_code)

    assert bounds.admit(spoken)
    for nothing in (0.0, 1 / 24_000, 1152 / 44_100, 0.05):
        assert not bounds.admit(nothing)


@pytest.mark.parametrize(
    ("text", "language_code", "usual"),
    [
        ("从前有一只小猫头鹰。它住在一棵老橡树上。每天晚上它都会点亮一盏灯。大家都能找到回家的路。", "zh", 0.2),
        ("むかしむかし、古いかしの木に小さなふくろうが住んでいました。", "ja", 0.14),
        ("옛날 옛적에 오래된 참나무에 작은 부엉이가 살고 있었습니다.", "ko", 0.13),
        ("มีนกฮูกตัวเล็กอาศัยอยู่ในต้นโอ๊กเก่า ทุกเย็นมันจุดโคมไฟ", "th", 0.075),
        ("एक समय की बात है, एक छोटा उल्लू एक पुराने पेड़ पर रहता था।", "hi", 0.072),
        ("كان يا ما كان، بومة صغيرة تعيش في شجرة بلوط قديمة.", "ar", 0.085),
        ("היה היה פעם ינשוף קטן שגר בעץ אלון זקן.", "he", 0.075),
        ("Жила-была маленькая сова, и дом её был в старом дубе.", "ru", 0.066),
        ("Il était une fois un petit hibou qui vivait dans un vieux chêne.", "fr", 0.06),
        (ENGLISH, "en", 0.066),
    ],
)  # fmt: skip
def test_half_of_a_text_is_no_reading_of_it_in_any_script(text: str, language_code: str, usual: float) -> None:
    """Seconds a character are those of voices as they are sold; a fifth faster is fine."""
    bounds = duration_bounds(text, None, language_code)

    assert bounds.admit(usual * len(text))
    assert bounds.admit(usual * len(text) / 1.2)
    for kept in (0.18, 0.3, 0.5):
        assert not bounds.admit(kept * usual * len(text))


@pytest.mark.parametrize(
    ("acted", "read"),
    [
        ("[whispering] Good night.", "Good night."),
        ("[laughs softly] Good night. (sighs)", "Good night."),
        ("(Yawning sleepily) Good night, (clears his throat) Mia.", "Good night, Mia."),
    ],
)
def test_what_is_acted_does_not_count(acted: str, read: str) -> None:
    """A model plays directions in place of reading them."""
    assert duration_bounds(read).shortest == pytest.approx(duration_bounds(acted).shortest, rel=0.06)


def test_what_stands_in_brackets_is_read() -> None:
    """An aside is no direction."""
    assert (
        duration_bounds("The fox (he was very old) slept.").shortest > duration_bounds("The fox slept.").shortest + 0.5
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1234567890", 6.9), ("👨‍👩‍👧‍👦🐉🌙", 2.5), ("I. II. III. IV.", 4.4), ("กาลครั้งหนึ่งนานมาแล้ว", 26.5), ("Mia", 0.9)],
)
def test_texts_that_sound_long_are_admitted(text: str, seconds: float) -> None:
    """Numbers, emoji and scripts that a voice spells out take their time (measured with espeak-ng)."""
    assert duration_bounds(text).admit(seconds)


def test_speed_widens_the_bounds_and_never_narrows_them() -> None:
    """A provider that ignores or clamps the speed is not refused for it."""
    plain, fast, slow = duration_bounds(ENGLISH), duration_bounds(ENGLISH, 2.0), duration_bounds(ENGLISH, 0.5)

    assert fast.shortest < plain.shortest == slow.shortest
    assert slow.longest > plain.longest == fast.longest


def test_speed_of_zero_is_a_mistake() -> None:
    """A speed is a factor above zero."""
    with pytest.raises(ValueError, match="positive"):
        duration_bounds("Mia", 0.0)


def asked(text: str, **given: object) -> SegmentRequest:
    return SegmentRequest(**{"text": text, "language_code": "en", "voice_id": "mia", **given})  # type: ignore[arg-type]


def experienced() -> Lengths:
    """A judge who has heard the voice at its usual pace, give or take a tenth."""
    lengths = Lengths()
    for number in range(12):
        text = f"{SENTENCES[number % len(SENTENCES)]} {number}"
        assert "" == lengths.trouble(USUAL * len(text) * (0.9 + 0.02 * (number % 11)), asked(text), "speech")
    return lengths


@given(st.floats(0.5, 0.66))
def test_an_answer_far_from_the_usual_pace_is_refused(kept: float) -> None:
    """Even where another voice might speak as fast."""
    seconds = kept * USUAL * len(ENGLISH)

    assert "this voice" in experienced().trouble(max(seconds, 0.57 * USUAL * len(ENGLISH)), asked(ENGLISH), "speech")
    assert experienced().trouble(seconds, asked(ENGLISH), "speech")


@given(st.floats(0.85, 1.6))
def test_an_answer_near_the_usual_pace_passes(times: float) -> None:
    """Passages differ; longer is never too slow before the bound of all voices."""
    assert "" == experienced().trouble(times * USUAL * len(ENGLISH), asked(ENGLISH), "speech")


def test_a_fast_passage_is_paid_for_twice_at_most() -> None:
    """As long the second time as the first, it is what the voice makes of this text; and it is learned."""
    lengths = experienced()
    seconds = 0.7 * USUAL * len(ENGLISH)

    assert lengths.trouble(seconds, asked(ENGLISH), "speech")
    assert "" == lengths.trouble(seconds * 1.05, asked(ENGLISH), "speech")


def test_an_answer_that_is_cut_is_refused_however_often_it_comes() -> None:
    """A server that ends at three fifths of each text is not taken for a voice that speaks fast."""
    lengths = experienced()

    for _ in range(3):
        assert lengths.trouble(0.6 * USUAL * len(ENGLISH), asked(ENGLISH), "speech")


def test_vowels_that_are_marks_on_letters_are_no_pauses() -> None:
    """Of Hindi: the pace that is learned of words with many holds for words with none."""
    lengths = Lengths()
    many, none = "छोटी सी मीठी बोली से तोते ने पूरी टोली को सोते से जगाया। ", "कमल नमक मटर बतख कलम जल घर पर नल तक चल। "
    for times in (1, 2, 3):
        text = many * times
        assert "" == lengths.trouble(0.1 * len(text), asked(text, language_code="hi"), "speech")
    text = none * 3

    assert "this voice" in lengths.trouble(0.077 * len(text), asked(text, language_code="hi"), "speech")
    assert "" == lengths.trouble(0.13 * len(text), asked(text, language_code="hi"), "speech")


@pytest.mark.parametrize("added", [0.0, 0.5])
def test_rhymes_lists_and_numbers_are_no_measure_for_long_sentences(added: float) -> None:
    """Seconds are those of the embedded English voice; others add silence to each answer."""
    lengths = Lengths()
    for text, seconds in (
        ("Hush. Hush. The moon is up. The owl is out. The night is here. Sleep now. Sleep. Sleep.", 10.88),
        ("Red. Blue. Green. Yellow. Orange. Purple. Brown. Black. White. Grey. Pink. Gold.", 14.01),
        ("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12! Twelve little ducks went out one day in 1984 at 7:45.", 12.21),
        ("I am. It is. We go. He ran. She sat. They ate. You see. So do I. Oh, no! Up we go. On it is.", 15.17),
        (MOUSE, 13.5),
        (OWL, 11.18),
    ):
        assert "" == lengths.trouble(seconds + added, asked(text), "offline")


def test_two_cuts_at_different_places_are_refused_twice() -> None:
    """Neither confirms the other."""
    lengths = experienced()
    long = ENGLISH * 3

    assert lengths.trouble(0.6 * USUAL * len(long), asked(long), "speech")
    assert lengths.trouble(0.7 * USUAL * len(long), asked(long), "speech")
    assert "" == lengths.trouble(USUAL * len(long), asked(long), "speech")


def test_what_no_voice_can_speak_is_refused_however_often_it_comes() -> None:
    """The bounds of all voices stand above what was learned."""
    lengths = experienced()

    for _ in range(3):
        assert lengths.trouble(0.3 * USUAL * len(ENGLISH), asked(ENGLISH), "speech")


@pytest.mark.parametrize(
    "other",
    [{"voice_id": "leo"}, {"model_id": "fast"}, {"language_code": "de"}, {"settings": VoiceSettings(speed=1.2)}, None],
)
def test_every_voice_has_a_pace_of_its_own(other: dict[str, object] | None) -> None:
    """By provider, voice, model, language and speed."""
    request, provider = asked(ENGLISH, **(other or {})), "speech" if other else "elevenlabs"

    assert "" == experienced().trouble(0.65 * USUAL * len(ENGLISH), request, provider)


def test_a_pace_needs_some_seconds_of_speech() -> None:
    """A few short answers are no measure."""
    lengths = Lengths()
    for text in ("The owl lit her lantern again.", "The wind blew out the flame then."):
        assert "" == lengths.trouble(0.1 * len(text), asked(text), "speech")

    assert "" == lengths.trouble(0.6 * 0.1 * len(ENGLISH), asked(ENGLISH), "speech")


def test_what_is_remembered_is_bounded() -> None:
    """Of voices, and of refused answers of each."""
    lengths = Lengths()
    for number in range(1_000):
        assert "" == lengths.trouble(USUAL * len(ENGLISH), asked(ENGLISH, voice_id=str(number)), "speech")
    learned = experienced()
    for number in range(1_000):
        text = f"{ENGLISH} {number}"
        assert learned.trouble(0.6 * USUAL * len(text), asked(text), "speech")

    assert 256 == len(lengths._paces)
    assert all(len(pace.refused) <= 24 for pace in learned._paces.values())
