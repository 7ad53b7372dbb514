"""Fills a SQLite store with very many stories in a minute."""

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from servicekit.ids import new_id
from storage_service.embedded.database import Database
from storage_service.stories import states
from tale.common.v1 import common_pb2

OWNER: Final = "mia"
NEWEST: Final = 1_790_000_000_000_000
"""Time of the newest story."""

_BODIES: Final = 400
_UNFINISHED: Final = 100
"""One story in so many is still to be made."""


async def fill(path: Path, count: int, *, words: int = 750) -> None:
    """Stores `count` stories of so many words, one per second: half of them are OWNER's, the others of 250 more.

    Each says "dragon" and a word of its own ("number17"); one in 400 says "lighthouse", one in three is in Russian.
    """
    database = Database(path, sync="normal", readers=1)
    await database.open()
    await database.write(lambda connection: _fill(connection, count, words))
    await database.write(lambda connection: connection.execute("ANALYZE").close())
    await database.close()


def _fill(connection: sqlite3.Connection, count: int, words: int) -> None:
    ids = [new_id() for _ in range(count)]
    bare = common_pb2.Story(kind=common_pb2.STORY_KIND_CHILD, wish="a dragon who cannot sleep").SerializeToString()
    texts = _texts(words)
    connection.executemany(
        "INSERT INTO stories (id, owner, state, kind, child_name, language_code, length_minutes, narrate, rating,"
        " title, content_length, content_complete, create_time, update_time, end_time)"
        " VALUES (?, ?, ?, 1, ?, ?, 5, 0, ?, ?, ?, ?, ?, ?, ?)",
        _rows(ids, texts),
    )
    connection.executemany(
        "INSERT INTO story_bodies (story_id, spec, story, voice) VALUES (?, x'', ?, x'')", ((one, bare) for one in ids)
    )
    connection.executemany(
        "INSERT INTO story_texts (story_id, start, text) VALUES (?, 0, ?)",
        ((one, f"{texts[number % _BODIES]} number{number}.") for number, one in enumerate(ids)),
    )
    connection.execute("INSERT INTO story_search (story_search) VALUES ('rebuild')")


def _rows(ids: list[str], texts: list[str]) -> Iterator[tuple[object, ...]]:
    for number, story_id in enumerate(ids):
        time = NEWEST - number * 1_000_000
        whole = number % _UNFINISHED != 1
        yield (
            story_id,
            OWNER if number % 2 == 0 else f"owner-{number % 500}",
            states.READY if whole else states.PENDING,
            f"Child {number % 7}",
            "ru" if number % 3 == 0 else "en",
            number % 10 + 1,
            f"The dragon and number {number}",
            len(texts[number % _BODIES]),
            whole,
            time,
            time,
            time if whole else None,
        )


def _texts(length: int) -> list[str]:
    dice = random.Random(7)
    letters = "abcdefghiklmnoprstuvwy"
    words = ["".join(dice.choices(letters, k=dice.randint(3, 9))) for _ in range(6_000)]
    # As in a language, few words make most of a text.
    weights = [1 / (rank + 3) for rank in range(len(words))]
    texts = [" ".join(["dragon", *dice.choices(words, weights, k=length - 1)]) for _ in range(_BODIES)]
    texts[0] += " lighthouse"
    return texts
