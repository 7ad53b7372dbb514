"""Slots: what agrees with somebody, somebody in the cases, and the prepositions that change their form."""

import re
from collections.abc import Iterable, Mapping

from story_service.offline.russian.morphology import CASES, Forms, Gender
from story_service.offline.stock import Section

_ORDER: tuple[Gender, ...] = ("m", "f", "n", "pl")
_CLUSTER = re.compile(r"(?:[сзшжльв][бвгджзклмнпрстфхцчшщ]|льв|мн)", re.IGNORECASE)
_VOWEL = re.compile(r"[аиоуэы]", re.IGNORECASE)


class Agreement:
    """Endings and pronouns by gender, as the stock lists them: one a line, "ending: m | f | n | pl"."""

    def __init__(self, sections: Iterable[Section]) -> None:
        (endings,) = (section for section in sections if section.key == "endings")
        rows = [line.text.partition(":") for line in endings.lines()]
        self._rows = {name.strip(): [form.strip() for form in forms.split("|")] for name, _, forms in rows}

    def slots(self, gender: Gender, suffix: str = "") -> dict[str, str]:
        """The slot {а} of the stock is "" after a boy and "а" after a girl; `suffix` tells whom it agrees with."""
        at = _ORDER.index(gender)
        return {name + suffix: forms[at] for name, forms in self._rows.items()}


def case_slots(prefix: str, forms: Mapping[str, str] | Forms) -> dict[str, str]:
    """{c}, {c_gen} and so on, and the same with a capital: {C}, {C_gen}."""
    slots: dict[str, str] = {}
    for case in CASES:
        tail = "" if case == "nom" else f"_{case}"
        slots[prefix + tail] = forms[case]
        slots[prefix.capitalize() + tail] = forms[case][:1].upper() + forms[case][1:]
    return slots


def listed(forms: str) -> Forms:
    """The six cases of a field of the stock, in the order in which they are taught."""
    return dict(zip(CASES, (form.strip() for form in forms.split(",")), strict=True))


def with_(phrase: str) -> str:
    """С or со: со Львом, с Машей."""
    return "со" if _CLUSTER.match(phrase) else "с"


def to(phrase: str) -> str:
    """К or ко: ко Льву, к Маше."""
    return "ко" if re.match(r"(?:льв|мн)", phrase, re.IGNORECASE) else "к"


def about(phrase: str) -> str:
    """О or об: об Арсении, о Маше."""
    return "об" if _VOWEL.match(phrase) else "о"


def quoted(sentence: str) -> str:
    """A closed sentence in guillemets: «Ура!», but «Делиться весело»., for a full stop stands behind them."""
    return f"«{sentence.removesuffix('.')}»." if sentence.endswith(".") else f"«{sentence}»"
