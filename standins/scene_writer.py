"""Writes what a prompt of the story service asks for, as a model with habits does: too little, too much, or as asked.

A call for an outline or a judgement gets one; every other gets new sentences of ten words, five to a paragraph, and an
ending where the prompt does not forbid it.
"""

import hashlib
import json
import random
import re
from dataclasses import dataclass
from typing import Final

from standins.made_up import VOCABULARY

ENDING: Final = "Then all of them fell asleep, and the moon watched over the house until the morning. Good night."
"""Last paragraph of what ends a story."""
_WORDS: Final = re.compile(r"Length: (?:about|at most) (\d+)")
_SCENES: Final = re.compile(r"is written in (\d+) more scene")
_TITLED: Final = re.compile(r"The first line is the title alone")
_JUDGEMENTS: Final = {
    "You check texts": json.dumps({"unsuitable": False, "category": "none"}),
    "You are the editor": json.dumps(dict.fromkeys(("wish", "age", "arc", "moral", "coherence"), 5)),
}
"""What it answers as a judge, by the beginning of the prompt."""
_GOES_ON: Final = "It does not end the story"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a model writes: at most so many words an answer, `factor` times what is asked for, always with an ending."""

    most_words: int = 100_000
    factor: float = 1.0
    always_ends: bool = False
    lines: bool = False
    """Whether outlines are lines and not JSON."""
    plans: bool = True
    """Whether it can plan a story."""


def written(prompt: str, habits: Habits) -> str:
    """Returns the answer to `prompt`, the same for the same prompt."""
    judgement = next((said for role, said in _JUDGEMENTS.items() if prompt.startswith(role)), "")
    if judgement:
        return judgement
    chance = random.Random(hashlib.sha256(prompt.encode()).digest())
    scenes = _SCENES.search(prompt)
    if scenes is not None:
        return _outline(chance, int(scenes[1]), habits)
    asked = int(_WORDS.findall(prompt)[-1])
    words = min(round(asked * habits.factor), habits.most_words)
    ends = habits.always_ends or _GOES_ON not in prompt
    room = words - (len(ENDING.split()) if ends else 0)
    text = _text(chance, max(room, 10 if not ends else 0))
    answer = "\n\n".join(filter(None, (text, ENDING if ends else "")))
    return f"{_title(chance)}\n\n{answer}" if _TITLED.search(prompt) else answer


def _outline(chance: random.Random, scenes: int, habits: Habits) -> str:
    if not habits.plans:
        return "What a lovely idea for a story!"
    fields = {"setting": _phrase(chance, 3), "companion": "-", "gift": "a shell"}
    purposes = [f"{_phrase(chance, 8).capitalize()}." for _ in range(scenes)]
    if not habits.lines:
        return json.dumps({**fields, "scenes": purposes})
    labelled = [f"{name.capitalize()}: {value}" for name, value in fields.items()]
    return "\n".join([*labelled, *(f"{number}. {purpose}" for number, purpose in enumerate(purposes, 2))])


def _text(chance: random.Random, words: int) -> str:
    sizes = [10] * (words // 10) + ([words % 10] if words % 10 > 2 else [])
    sentences = [f"{_phrase(chance, size).capitalize()}." for size in sizes]
    return "\n\n".join(" ".join(sentences[start : start + 5]) for start in range(0, len(sentences), 5))


def _title(chance: random.Random) -> str:
    first, second = chance.sample(VOCABULARY, 2)
    return f"The Tale of the {first.capitalize()} and the {second.capitalize()}"


def _phrase(chance: random.Random, words: int) -> str:
    return " ".join(chance.sample(VOCABULARY, words))
