"""What is to be written, in the service's own types."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from offline_writer import Gender, Kind, Outline, Parent, Protagonist, Scene
from servicekit.validation import max_length
from story_service.passage import Passage, passage_of, scenes_of, words_of
from tale.common.v1 import common_pb2

MAX_CONTENT_LENGTH: Final = max_length(common_pb2.Story, "content")
"""Most code points of a story's content."""
ASPECTS: Final = ("wish", "age", "arc", "moral", "coherence")
"""What a scene is judged by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """The child that listens. `age` in years."""

    name: str
    age: int | None = None
    gender: Gender = ""
    interests: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One story to write or to continue: validated, and free of control characters where it came from people.

    `written_so_far` is released content (the answer continues after its last code point); then `title_so_far` is not
    empty. With `broke_off` an earlier answer ended without an ending: if this one does too, the story ends with its
    last whole sentence. `hero` is set for the kinds "hero" and "combined". `temperature` from 0 to 2, money in US
    dollars; None: not set. `provider_wait` is how long providers may be waited for in all, in seconds. `calls_made` and
    `calls_without_text` (by model) are the calls of earlier attempts, see CallBudget. Where calls wait
    for a free place, that of the story with the lower `order` is next. `heard` are
    the outlines of what the child heard last, newest first; `outline` is the plan of this story where an earlier
    attempt has made one. What `avoid` names must not appear; `audience_note` is for the writer alone. Where an answer
    is too short and `extendable`, its ending is not released, and the next attempt continues what is before it: that
    one is `extended`. With `ends_if_cut` an answer that is cut at its maximum of tokens ends its passage. `gentle`:
    what an earlier attempt wrote next was refused by the safety check. `weak` are the
    aspects in which an earlier version of the scene was poor.
    """

    story_id: str
    child: Listener
    kind: Kind = "child"
    hero: Protagonist | None = None
    parent: Parent | None = None
    wish: str = ""
    moral: str = ""
    theme: str = ""
    language_code: str = "en"
    length_minutes: int = 5
    model: str = ""
    fallback_models: tuple[str, ...] = ()
    temperature: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    spent_usd: float = 0.0
    provider_wait: float = 0.0
    calls_made: int = 0
    calls_without_text: Mapping[str, int] = field(default_factory=dict)
    order: float = field(default=0.0, compare=False)
    title_so_far: str = ""
    written_so_far: str = ""
    broke_off: bool = False
    extendable: bool = False
    ends_if_cut: bool = False
    extended: bool = False
    avoid: tuple[str, ...] = ()
    audience_note: str = ""
    heard: tuple[Outline, ...] = ()
    outline: Outline | None = None
    gentle: bool = False
    weak: tuple[str, ...] = ()

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The scenes that are written one by one; empty where one call writes the whole story.

        The first is written before it is known what the others are: it alone stands for them then.
        """
        scenes = () if self.outline is None else self.outline.scenes
        if scenes and all(scene.words for scene in scenes):
            return scenes
        number = 0 if self.written_so_far else scenes_of(self.length_minutes)
        return (Scene(words=round(words_of(self.length_minutes) / number)),) if number else ()

    @cached_property
    def passage(self) -> Passage:
        """What the next call writes."""
        return passage_of(self.written_so_far, self.scenes, self.length_minutes)


def seed_of(assignment: Assignment) -> int:
    """Returns the given seed, or one that is the same for the story: 63 bits of the SHA-256 of its id."""
    if assignment.seed is not None:
        return assignment.seed
    return int.from_bytes(hashlib.sha256(assignment.story_id.encode()).digest()[:8]) >> 1
