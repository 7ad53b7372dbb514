"""Numbers in words, and years that agree with them."""

from collections.abc import Sequence

_NUMBERS = (
    "ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять", "десять", "одиннадцать",
    "двенадцать", "тринадцать", "четырнадцать", "пятнадцать", "шестнадцать", "семнадцать", "восемнадцать",
)  # fmt: skip


def number(value: int) -> str:
    """In words as far as stories need them, masculine."""
    return _NUMBERS[value] if 0 <= value < len(_NUMBERS) else str(value)


def counted(value: int, forms: Sequence[str]) -> str:
    """The noun that goes with a number: counted(2, ("год", "года", "лет")) is "года"."""
    if value % 100 not in range(11, 15):
        if value % 10 == 1:
            return forms[0]
        if value % 10 in range(2, 5):
            return forms[1]
    return forms[2]


def years(age: int) -> str:
    """Шесть лет."""
    return f"{number(age)} {counted(age, ('год', 'года', 'лет'))}"


def was_years(age: int) -> str:
    """What comes after the dative: "было шесть лет", "был один год", "ещё не было и года"."""
    if age <= 0:
        return "ещё не было и года"
    return f"{'был' if counted(age, ('год', '', '')) else 'было'} {years(age)}"


def joined(parts: Sequence[str]) -> str:
    """А, б и в."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " и " + parts[-1]
