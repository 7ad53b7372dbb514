"""How fast models write, as they were seen to."""

from typing import Final

from story_service.assignment import WORDS_PER_MINUTE

_TYPICAL_WORDS: Final = 5 * WORDS_PER_MINUTE
_WEIGHT: Final = 0.2
_MOST_MODELS: Final = 256


class Paces:
    """Keeps a moving average for each model; of too many models, those seen last."""

    def __init__(self) -> None:
        self._seconds_per_word: dict[str, float] = {}

    def note(self, model: str, *, words: int, seconds: float) -> None:
        """`model` has written a whole story of so many words in so many seconds."""
        if words <= 0:
            return
        seen = seconds / words
        known = self._seconds_per_word.pop(model, seen)
        if len(self._seconds_per_word) >= _MOST_MODELS:
            del self._seconds_per_word[next(iter(self._seconds_per_word))]
        self._seconds_per_word[model] = known + _WEIGHT * (seen - known)

    def typical_seconds(self, model: str) -> float | None:
        """Seconds that it takes for a story of five minutes, None where it was not seen."""
        pace = self._seconds_per_word.get(model)
        return None if pace is None else pace * _TYPICAL_WORDS
