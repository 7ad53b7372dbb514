"""What a server says in words: it explains the error, and nothing of a child or a key gets out."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.resilience.said import MAX_SAID, Cleaner

PROMPT: Final = (
    "Write a bedtime story in English. The story is for Mia Will O'Neil, 5 years old, born 20190501. "
    "She likes foxes and hates the dark. Её зовут Мия, она любит ёжиков. 小明喜欢恐龙。 ネコのタマ。 น้องมะลิ ชอบแมว"
)
CLEANER: Final = Cleaner([PROMPT], model="meta-llama/llama-3.1-8b-instruct")


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 4096 tokens.",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "No endpoints found matching your data policy. Configure: https://openrouter.ai/settings/privacy",
        "model meta-llama/llama-3.1-8b-instruct not found, try pulling it first",
        "The engine is currently overloaded, please try again later",
        "模型不存在",
    ],
)
def test_servers_own_words_stay(said: str) -> None:
    """They are what an operator needs."""
    assert said == CLEANER.clean(said)


PRIVATE: Final = (
    *("Mia", "mia", "MIA", "Will", "Neil", "foxes", "Мия", "МИЯ", "ёжиков", "小明", "恐龙", "タマ", "มะลิ", "20190501"),
    *("Mia's", "Mia_2", "xMiax", "Мию"[:2]),
)


@pytest.mark.parametrize("word", PRIVATE)
@pytest.mark.parametrize(
    "frame",
    [
        "The input {} is not allowed",
        "bad value: {}",
        "'{}' was flagged",
        "{}",
        'near "{}": unexpected',
        "({})",
        "7{}_ {}",
    ],
)
def test_words_of_the_request_do_not_get_out(word: str, frame: str) -> None:
    """In no script, no case, and no place."""
    cleaned = CLEANER.clean(frame.format(*[word] * 2))

    assert word not in cleaned
    assert word.casefold() not in cleaned.casefold()


@pytest.mark.parametrize(
    "said",
    [
        "Invalid input: \\u041c\\u0438\\u044f is bad",
        "Invalid input: &#1052;&#1080;&#1103; is bad",
        "Invalid input: %D0%9C%D0%B8%D1%8F is bad",
        "Invalid input: M\u200bia is bad",
        "Invalid input: Mi\u0301a".replace("\u0301", "") + " is bad",
    ],
    ids=["JSON", "HTML", "URL", "invisible", "plain"],
)
def test_escapes_hide_nothing(said: str) -> None:
    """They are read before the words are."""
    cleaned = CLEANER.clean(said)

    assert "Мия" not in cleaned
    assert "Mia" not in cleaned.replace("\u200b", "")
    assert cleaned.startswith("Invalid input: …")


@pytest.mark.parametrize(
    "said", ["TWlhIGxpa2VzIGZveGVz", "Zm94ZXM=", "666f786573", "f.o.x.e.s", "f-o-x-e-s", "f o x e s"]
)
def test_encoded_and_spelled_words_do_not_get_out(said: str) -> None:
    """Whatever they say."""
    assert "Invalid input: …" == CLEANER.clean(f"Invalid input: {said}")


@pytest.mark.parametrize(
    "secret",
    [
        "sk-or-v1-0123456789abcdef",
        "sk-proj-abc***xyz",
        "gsk_abcdefghijklmnop1234",
        "Bearer abcdef123456",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "0123456789abcdef0123456789abcdef",
        "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "org-AbCdEf123456",
        "parent@example.com",
        "https://x.example/path?key=abc123&user=7",
        "https://user:pass1word@x.example/",
    ],
)
def test_keys_and_addresses_do_not_get_out(secret: str) -> None:
    """Nor do the queries of URLs."""
    cleaned = CLEANER.clean(f"Incorrect API key provided: {secret}. You can find it there.")

    assert secret not in cleaned
    for part in ("0123456789", "abcdef", "eyJ", "QWxh", "parent@", "abc123", "pass1word", "AbCdEf"):
        assert part not in cleaned
    assert cleaned.startswith("Incorrect API key provided:")


@pytest.mark.parametrize("quotes", ["''", '""', "“”", "«»", "``"])
def test_longer_quotations_are_left_out(quotes: str) -> None:
    """They may be of anything; so may one that is cut."""
    start, end = tuple(quotes)
    text = "a dragon that sleeps under the old bridge near the river"

    for said in (f"The text {start}{text}{end} is bad", f"The text is bad: {start}{text}"):
        assert "dragon" not in CLEANER.clean(said)


def test_quotations_without_marks_are_left_out() -> None:
    """Four words in a row that stand in the request; ordinary ones as well, and numbers."""
    assert "Invalid prompt: …" == CLEANER.clean(f"Invalid prompt: {PROMPT}")
    assert "Invalid prompt: …" == CLEANER.clean("Invalid prompt: The story is for Mia")
    assert "It is … and not 7" == CLEANER.clean("It is 5 and not 7")


def test_nothing_is_longer_than_its_bound() -> None:
    """And no word is cut."""
    cleaned = CLEANER.clean("overloaded service " * 1_000)

    assert len(cleaned) <= MAX_SAID
    assert cleaned.endswith(("overloaded…", "service…"))


def test_gaps_alone_say_nothing() -> None:
    """Then there are no words."""
    assert "" == CLEANER.clean("Mia Мия 小明 !!! {}")


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_cleaned(before: str, behind: str) -> None:
    """Whatever stands around it, the name is gone."""
    cleaned = CLEANER.clean(f"{before} Мия {behind}")

    assert "Мия" not in cleaned
    assert len(cleaned) <= MAX_SAID
    assert cleaned.isprintable()
