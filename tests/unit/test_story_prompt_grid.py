"""Every prompt of a grid of assignments: its length, unit and marks, and no two instructions that contradict."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

import pytest

from offline_writer import Kind, Outline, Parent, Protagonist
from offline_writer.bands import band_of
from story_service.assignment import Assignment, Listener
from story_service.passage import words_of
from story_service.prompting.builder import PromptBuilder

_BUILDER: Final = PromptBuilder()
_KINDS: Final[tuple[Kind, ...]] = ("child", "hero", "combined")
_MARKS: Final = {
    "de": "„…“", "es": "«…»", "fr": "« … »", "pt": "«…»", "pt-BR": "“…”", "it": "«…»", "pl": "„…”", "tr": "“…”",
    "zh": "“…”", "zh-Hant": "「…」", "ja": "「…」", "ar": "«…»", "hi": "“…”",
}  # fmt: skip
"""Marks of direct speech that a prompt names, by language."""
_CHARACTERS: Final = {"zh": 2, "zh-Hant": 2, "ja": 2, "th": 5}
_LANGUAGES: Final = ("en", "en-GB", "ru", *_MARKS, "th", "he")
_DATA: Final = re.compile(r"<data>(.*?)</data>", re.DOTALL)
_STATES: Final = ("new", "titled", "begun", "ending")

_CONTRADICTIONS: Final = (
    (r"let nothing new happen|не случается ничего нового", r"something new happen|случится что-то новое"),
    (r"let nothing new happen|не случается ничего нового", r"^Events: |^Choice: |^New words: |^События: |^Выбор: "),
    (r"let nothing new happen|не случается ничего нового", r"one or two things|одно или два"),
    (r"do not give the title|не пиши название|не повторяй название", r"first line is the title|Первая строка"),
    (r"^Refrain: |^Припев: ", r"^Choice: |^Выбор: "),
    (r"does not appear in it|в ней не появляется", r"listens is its main|тот ребёнок, который слушает"),
    (r"\bin English\b", r"BCP-47 code (?!en)"),
    (r"BCP-47", r"пиши по-русски"),
    (r"\d words", r"\d characters"),
    (r"\bgirl\b", r"\bboy\b"),
    (r"девочка", r"мальчик"),
    (r"^Only an offer", r"^This story has:"),
)  # fmt: skip
"""Pairs of instructions of which a prompt has at most one."""


def _assignments(language_code: str, *, every: int) -> Iterator[tuple[str, Assignment]]:
    grid = itertools.product(_KINDS, (None, 2, 12), (1, 5), (False, True), (False, True), _STATES)
    for kind, age, minutes, sequel, full, state in itertools.islice(grid, 0, None, every):
        assignment = Assignment(
            story_id=f"{kind} {age} {minutes}",
            child=Listener(name="Mia", age=age),
            kind=kind,
            hero=None if kind == "child" else Protagonist(name="Plum"),
            language_code=language_code,
            length_minutes=minutes,
            parent=Parent(title="The Lamp", text="Pip held the lamp.") if sequel else None,
        )
        if full:
            assignment = replace(
                assignment,
                child=Listener(name="Mia", age=age, gender="female", interests=("Minecraft", "snails", "kites")),
                wish="a dragon who cannot sleep",
                theme="the night sea",
                moral="kindness",
                avoid=("spiders", "the moon"),
                audience_note="her dog died last week",
                heard=(
                    Outline(title="The Lamp", setting="a hill", companion="Pip"),
                    Outline(title="The Door", setting="a cave", companion="Nib"),
                ),
            )
        written = {"begun": 0.3, "ending": 0.95}.get(state, 0.0) * words_of(minutes)
        so_far = "Она вдруг проснулась ночью. " * int(written / 4 + 1) if written else ""
        yield state, replace(assignment, title_so_far="" if state == "new" else "Sea", written_so_far=so_far)


class _Prompt(NamedTuple):
    """A prompt, whole and without what people wrote, of an assignment in one of the states."""

    language_code: str
    state: str
    assignment: Assignment
    said: str
    rules: str


@pytest.fixture(
    scope="module",
    params=[(code, 5) for code in _LANGUAGES]
    + [pytest.param((code, 1), marks=pytest.mark.long) for code in _LANGUAGES],
    ids=lambda value: "-".join(map(str, value)),
)
def prompts(request: pytest.FixtureRequest) -> list[_Prompt]:
    """Returns the prompts of one language."""
    (code, every), found = request.param, list[_Prompt]()
    for state, assignment in _assignments(code, every=every):
        said = "\n\n".join(message.content for message in _BUILDER.messages(assignment))
        found.append(_Prompt(code, state, assignment, said, _DATA.sub("<data></data>", said)))
    return found


def test_no_two_instructions_contradict_each_other(prompts: list[_Prompt]) -> None:
    """Whatever is asked for, at whatever age, however far the story has come."""
    found = [
        (assignment.story_id, state, pair)
        for _, state, assignment, _, rules in prompts
        for pair in _CONTRADICTIONS
        if all(re.search(one, rules, re.MULTILINE) for one in pair)
    ]

    assert [] == found


def test_length_is_asked_once_in_the_unit_of_the_language(prompts: list[_Prompt]) -> None:
    """Words where blanks divide them, characters where not, the same number as the service counts."""
    language_code = prompts[0].language_code
    per_word = _CHARACTERS.get(language_code, 1)
    unit = "characters" if per_word > 1 else "слов" if language_code == "ru" else "words"
    for _, state, assignment, _, rules in prompts:
        passage = assignment.passage
        words = passage.words if state == "new" else passage.left
        lines = [line for line in rules.splitlines() if line.startswith(("Length:", "Длина:"))]
        band = band_of(assignment.child.age)
        sentence = next(line for line in rules.splitlines() if line.startswith(("Language:", "Язык:")))

        assert len(lines) == 1, (state, lines)
        assert re.findall(rf"(\d+) {unit}", lines[0]) == [str(words * per_word)]
        assert re.findall(r"\d+", sentence) == [str(band.least_words * per_word), str(band.most_words * per_word)]


def test_language_is_named_bare_and_once(prompts: list[_Prompt]) -> None:
    """Its code is no text from people; a language with templates of its own needs no code."""
    for language_code, _, _, said, rules in prompts:
        codes = re.findall(r"BCP-47 code (\S+?)[, ]", rules)

        assert codes == ([] if language_code in {"en", "ru"} else [language_code])
        assert f"<data>{language_code}</data>" not in said
        assert ("по-русски" in rules) is (language_code == "ru")


def test_names_marks_and_direction_are_those_of_the_language(prompts: list[_Prompt]) -> None:
    """Names are transcribed, direct speech has the marks of the language, and no mark of direction is written."""
    for language_code, _, _, said, rules in prompts:
        assert len(re.findall(r"^(?:Names|Имена): .*(?:transcribed|передай)", rules, re.MULTILINE)) == 1
        assert (_MARKS.get(language_code, "") or "_") in rules or language_code not in _MARKS
        assert ("right to left" in rules) is (language_code in {"ar", "he"})
        assert not re.search("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]", said)


def test_nothing_is_left_empty_or_unfilled(prompts: list[_Prompt]) -> None:
    """No label without its value, no mark of a template, no data without its marks, nothing twice."""
    for _, state, assignment, said, rules in prompts:
        labels = [line for line in rules.splitlines() if re.fullmatch(r"[^.!?]+: *", line)]
        rule_lines = [line for line in rules.splitlines() if len(line) > 60]

        assert not re.search(r"\{\{|\{%|\bNone\b|<data></data></data>|\[\]|: *,|, *\n|  +|\n\n\n", rules)
        assert said.count("<data>") == said.count("</data>")
        assert all("<data></data>" not in line for line in labels)
        assert len(set(rule_lines)) == len(rule_lines), (state, assignment.story_id)


def test_wish_interests_note_and_what_to_avoid_have_their_rules(prompts: list[_Prompt]) -> None:
    """The wish is the heart, one or two interests are woven in, the note is never quoted, avoid comes first."""
    russian = prompts[0].language_code == "ru"
    rules_of = {
        "a dragon who cannot sleep": "Это сердце сказки" if russian else "It is the heart of the story",
        "Minecraft": "одно или два" if russian else "weave in one or two things",
        "her dog died last week": "Никогда не цитируй заметку" if russian else "Never quote the note",
        "spiders": "Это важнее пожелания" if russian else "This comes before the wish",
        "Pip held the lamp.": "один или два раза" if russian else "once or twice",
    }
    for _, state, _, said, rules in prompts:
        if state != "ending":
            found = {data for data in rules_of if f"<data>{data}</data>" in said}
            assert found == {data for data, rule in rules_of.items() if rule in rules}


def test_what_was_heard_is_listed_but_not_what_a_sequel_continues(prompts: list[_Prompt]) -> None:
    """Titles, places and companions; those of the parent's text are to come back."""
    for _, state, assignment, said, rules in prompts:
        listed = "<data>Nib</data>" in said
        assert listed is (bool(assignment.heard) and state in {"new", "titled"})
        if listed:
            assert ("<data>Pip</data>" in said) is (assignment.parent is None)
            assert len(re.findall("Not again|Больше не повторяй", rules)) == 1


def test_what_is_to_be_avoided_is_offered_nowhere(prompts: list[_Prompt]) -> None:
    """A drawn place or mood has no word of it."""
    for _, _, assignment, said, _ in prompts:
        if assignment.avoid:
            drawn = said.partition("Only an offer")[2] or said.partition("предложение")[2]
            assert "moon" not in drawn.partition("heard")[0]


def test_prompt_stays_bounded() -> None:
    """With the longest of everything that a request may hold."""
    text = "слово " * 3_000
    outlines = tuple(Outline(title=text, setting=f"{number} {text}", companion=text[number:]) for number in range(20))
    assignment = Assignment(
        story_id="s",
        child=Listener(name=text, interests=(text,) * 20),
        wish=text,
        theme=text,
        moral=text,
        avoid=(text,) * 20,
        audience_note=text,
        parent=Parent(title=text, text=text),
        heard=outlines,
    )

    assert sum(len(message.content) for message in _BUILDER.messages(assignment)) < 30_000
