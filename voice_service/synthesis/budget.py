"""The budget of calls for the segments of one narration: how often which provider may still be called."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_CALLS: Final = 3
_MOST_USELESS: Final = 2


class UsedUpError(ProviderError):
    """No call was made: as many were made for the segment as are allowed, at all or without a wait."""

    def __init__(self, provider: str) -> None:
        said = "it was called for this segment as often as is allowed"
        super().__init__(ProviderErrorKind.TRUNCATED, said, provider=provider)


@dataclass(slots=True)
class Tries:
    """The calls to one provider for one segment, in all attempts at the narration.

    `unbilled` of them cannot have cost anything; to `useless` ones an answer came that is of no use. A call that cost
    nothing and that only a wait allowed does not count: time bounds waits, calls bound money.
    """

    calls: int = 0
    unbilled: int = 0
    useless: int = 0
    may_wait: bool = False
    """True where the last call that may be billed is made after a wait: then the provider may be back."""
    waited: bool = False
    """True after a wait for a provider, until it is called again."""

    @property
    def spent(self) -> bool:
        """True where the provider is not called again for the segment, however long is waited."""
        return self.useless >= _MOST_USELESS or self.calls - self.unbilled >= MOST_CALLS

    @property
    def may_repeat(self) -> bool:
        """Returns whether a call that failed may be made again without a wait."""
        return not self.spent and self.calls - self.unbilled < MOST_CALLS - self.may_wait

    def take(self) -> int:
        """Returns how many calls may be made now."""
        waited, self.waited = self.waited, False
        if self.spent or not (waited or self.may_repeat):
            return 0
        return max(MOST_CALLS - self.calls, int(waited))

    def share(self, other: Tries) -> None:
        """Counts the calls that were made for another order of the same segment, and for this one."""
        self.calls, self.unbilled = max(self.calls, other.calls), max(self.unbilled, other.unbilled)
        self.useless = max(self.useless, other.useless)

    def began(self) -> bool:
        """Notes a call; returns whether only a wait allowed it."""
        self.calls += 1
        return self.calls > MOST_CALLS

    def failed(self, *, billed: bool, answered: bool, probe: bool) -> None:
        """Notes that a call failed; `probe`: only a wait had allowed it."""
        self.calls -= probe and not billed
        self.unbilled += not probe and not billed
        self.useless += answered


class CallBudget:
    """The tries of all segments of one narration, by the segment's index and the provider's name."""

    def __init__(self, made: Iterable[tuple[int, str, Tries]] = (), *, may_wait: bool = False) -> None:
        """`made` are the calls of earlier attempts; `may_wait`: the narration may wait for providers."""
        self._tries = defaultdict[tuple[int, str], Tries](lambda: Tries(may_wait=may_wait))
        self._tries.update({(index, provider): tries for index, provider, tries in made})

    def of(self, segment_index: int, provider: str) -> Tries:
        """Returns the tries of a segment with a provider."""
        return self._tries[segment_index, provider]

    def waited(self) -> None:
        """Notes that a wait for a provider is over."""
        for tries in self._tries.values():
            tries.waited = True
