"""The journey as Russian tells it: the last realm has every scene that is left."""

from story_service.offline.casting import Cast
from story_service.offline.journey import Journey


class RussianJourney(Journey[Cast]):
    """Lays out one journey."""

    _SCENES_TO_A_REALM = 7
    _ANY_INTEREST = ("any_gate", "any_memory", "any_fair")

    def _wanted(self, at: int, own: int, left: int) -> int:
        return left if at == len(self._realms) - 1 else super()._wanted(at, own, left)
