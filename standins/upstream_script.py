"""The script of the stand-in upstreams, and the journal of their calls."""

from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

COST_OF_A_WORD: Final = 0.00001
MOST_CALLS: Final = 200_000
"""Calls of a kind that the journal holds."""

Fault = Literal["500", "429", "cut", "malformed", "stall", "400", "401", "402", "404", "422"]


class Script(BaseModel):
    """How the stand-ins respond. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: int = 750
    """Words of a story."""
    most_words: int = 0
    """Words of an answer at most, of a model that writes what it is asked for (`standins.scene_writer`); 0: each story
    is the made-up one of `words`.
    """
    events: int = 75
    """Events in which a story comes."""
    first_token: float = 0.0
    writing: float = 0.0
    """From a story's first event to its last."""
    first_byte: float = 0.0
    spread: float = 0.0
    """Share by which `first_token`, `writing` and `first_byte` vary from call to call, up and down."""
    pace: float = 0.0
    """How many times faster than it sounds speech is made; 0: at once."""
    distinct: bool = False
    """Whether each text has a sound of its own, which costs more."""
    fault_rate: float = 0.0
    """Share of the calls that fail, in all ways of `faults` alike."""
    faults: tuple[Fault, ...] = ("500", "429", "cut", "malformed", "stall")
    fault_on: tuple[Literal["writing", "speaking"], ...] = ("writing", "speaking")
    """Calls that may fail."""
    retry_after: str = "0"
    """Retry-After of a 429."""
    hold: str = ""
    """A call to write whose prompt matches this regular expression is answered under another script."""
    down: bool = False
    """Answers 503 to every request of a provider; the journal counts them as `turned_away`."""
    seed: int = 0


@dataclass(slots=True)
class Told:
    """A call to write: what was sent, whether that was complete, and its cost."""

    id: str
    seed: int
    model: str
    fault: str = ""
    words: int = 0
    whole: bool = False
    held: bool = False
    left: bool = False
    """The caller closed the connection."""

    @property
    def cost(self) -> float:
        """Returns US dollars for the words that were sent."""
        return round(self.words * COST_OF_A_WORD, 9)


@dataclass(slots=True)
class Spoken:
    """A call to speak; `billed` characters, `bytes` of audio that were sent."""

    id: str
    text: str
    fault: str = ""
    billed: int = 0
    bytes: int = 0
    whole: bool = False
    left: bool = False
    """The caller closed the connection."""


@dataclass(slots=True)
class TurnedAway:
    """A request that arrived while the upstreams were down; `time` in seconds since the Unix epoch."""

    path: str
    time: float


@dataclass(slots=True)
class Journal:
    """All calls, the oldest first."""

    told: list[Told] = field(default_factory=list)
    spoken: list[Spoken] = field(default_factory=list)
    turned_away: list[TurnedAway] = field(default_factory=list)
    forgotten: int = 0
    """Older calls that are not here any more: the last `MOST_CALLS` of a kind are."""
    in_flight: int = 0
    """Calls that write or speak and have not ended."""
    most_in_flight: int = 0
