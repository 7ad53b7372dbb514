"""Words of the servers and of this client as commands that the reader can type."""

import re
import shutil
import sys
from pathlib import Path
from typing import Final

from tale_client.cli import COMMANDS

# What a server's sentence names -> what it is here.
_HERE: Final = {
    "GetSystemStatus": "`tale circuits`",
    "ListModels": "`tale models`",
    "ListProviders": "`tale voices`",
    "ListVoices": "`tale voices`",
    "NarrateStory": "`tale narrate {id}`",
    "RetryStory": "`tale retry {id}`",
    "WatchStory": "`tale watch {id}`",
    "max_cost_usd": "--max-cost",
    "fallback_models": "--fallback-model",
}
_NAMED: Final = re.compile(rf"\b(?:{'|'.join(_HERE)})\b")
_COMMAND: Final = re.compile(rf"\btale(?= (?:{'|'.join(COMMANDS)})\b)")


def for_people(text: str, story_id: str = "") -> str:
    """`text` with commands where it names RPCs."""
    return _NAMED.sub(lambda found: _HERE[found[0]].format(id=story_id or "ID"), text)


def typed(text: str) -> str:
    """`text` with the commands in it as this shell finds them: by a path where `tale` alone would not be found."""
    command = Path(sys.argv[0])
    if command.name != "tale" or shutil.which("tale"):
        return text
    return _COMMAND.sub(lambda _: str(command), text)
