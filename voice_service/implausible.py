"""Sound that came whole and does not fit its text."""

from __future__ import annotations

from dataclasses import replace

from servicekit.resilience.errors import ProviderError, ProviderErrorKind, Treatment


class ImplausibleError(ProviderError):
    """Sound that is too short or too long for its text, or whose times do not end where the text does.

    A text of its own kind may be to blame as well as the provider: another one may be fine. So it does not speak
    against the provider's health as other TRUNCATED answers do.
    """

    def __init__(self, message: str, *, provider: str) -> None:
        super().__init__(ProviderErrorKind.TRUNCATED, message, provider=provider)

    @property
    def treatment(self) -> Treatment:
        """That of TRUNCATED, but that no circuit opens."""
        return replace(super().treatment, break_circuit=False)
