"""What voices are given to read: marks, entities, headings, verses, and languages that they cannot read."""

from typing import Any, Final

from support.speech_fake import Reply

from compatibility.voice_harness import TITLE, VoiceCase, VoiceResult

_TEXT: Final = "The text that a voice gets"
_LANGUAGES: Final = "Languages that a voice cannot read"
_MARKED: Final = (
    "**Mia** said &ldquo;hello&rdquo; to ~the~ cat \\* and the ==owl==. <i>Two</i> of 2*3 was 6 &amp; not 50 % 🌙 more."
)
_VERSE: Final = (
    "The moon is up\nThe owl is out\n\nThe night is long\nThe stars are out\n\nAnd then they all went to bed."
)


def _given(*texts: str) -> Any:
    """Checks what the server was given after the title; it is asked for two segments at once, in either order."""

    def check(result: VoiceResult) -> None:
        assert {f"{TITLE}.", *texts} == {*result.upstreams.texts}

    return check


def _of_the_embedded_voice(language: str, name: str, text: str, outcome: str, **more: Any) -> VoiceCase:
    return VoiceCase(
        kind=_LANGUAGES,
        sends=f"nothing; the embedded voice is to read {name}",
        calls=0,
        title=text[:12],
        texts=(text,),
        language_code=language,
        outcome=outcome,
        **more,
    )


CASES: Final[tuple[VoiceCase, ...]] = (
    VoiceCase(
        kind=_TEXT,
        sends="each segment; the text has Markdown, entities, HTML, escapes, an emoji and `2*3`",
        speech=[Reply()],
        calls=3,
        texts=(_MARKED,),
        check=_given("Mia said “hello” to the cat and the owl.", "Two of 2*3 was 6 & not 50 % more."),
    ),
    VoiceCase(
        kind=_TEXT,
        sends="each segment; the lines of a verse end in no mark, and verses are parted by empty lines",
        speech=[Reply()],
        calls=4,
        texts=(_VERSE,),
        check=_given(
            "The moon is up,\nThe owl is out.",
            "The night is long,\nThe stars are out.",
            "And then they all went to bed.",
        ),
    ),
    _of_the_embedded_voice("th", "Thai", "กาลครั้งหนึ่งนานมาแล้ว มีสุนัขจิ้งจอกตัวเล็ก", "LANGUAGE_UNSUPPORTED"),
    _of_the_embedded_voice("he", "Hebrew without vowels", "היה היה פעם שועל קטן.", "LANGUAGE_UNSUPPORTED"),
    _of_the_embedded_voice("ja", "Japanese with kanji", "昔々、小さな狐が森に住んでいました。", "LANGUAGE_UNSUPPORTED"),
    _of_the_embedded_voice(
        "ja",
        "Japanese in kana alone",
        "むかしむかし、ちいさなきつねがいました。",
        "READY, EMBEDDED_VOICE, LANGUAGE_UNSUPPORTED",
    ),
    _of_the_embedded_voice(
        "en",
        "English with a name in Chinese",
        "Mia met a friend whose name was 小明, and they played until the moon came up.",
        "READY, EMBEDDED_VOICE",
    ),
)
