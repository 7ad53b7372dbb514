"""What an operator is told when an export or import can not go on."""


class ExchangeError(Exception):
    """Its text is one line that says what is wrong and what to do."""
