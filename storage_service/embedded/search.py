"""Lists and searches stories: the full-text index, and the expressions and word forms that it is searched with."""

import re
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from storage_service.embedded.database import Transaction
from storage_service.embedded.rows import to_summary
from storage_service.records import Position
from storage_service.stories.states import CANCELLED, FAILED, State
from tale.common.v1 import common_pb2

_PIECES: Final = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')
_WORDS: Final = re.compile(r"[^\W_]+")
_MOST_WORDS: Final = 32

# The view gives a row only of a story that is found.
_ROW: Final = "SELECT search_id, owner, title, content FROM story_search_source WHERE search_id ="
_ID: Final = "(SELECT search_id FROM stories WHERE id = ?)"


def is_found(state: State, *, content_complete: bool) -> bool:
    """Returns True where a story is in the index: its text is whole, or its run has ended without."""
    return content_complete or state in {FAILED, CANCELLED}


def leave(tx: Transaction, story_id: str) -> None:
    """Takes a story out, before it is changed or removed. One that is not in it is passed over."""
    tx.execute(
        "INSERT INTO story_search (story_search, rowid, owner, title, content)"  # noqa: S608 - constants only
        f" SELECT 'delete', * FROM ({_ROW} {_ID})",
        (story_id,),
    )


def enter(tx: Transaction, story_id: str) -> None:
    """Puts a story in that is not in it, after it was changed. One that is not to be found is passed over."""
    tx.execute(
        f"INSERT INTO story_search (rowid, owner, title, content) {_ROW} {_ID}",
        (story_id,),
    )


def to_expression(owner: str, query: str) -> str | None:
    """Returns the expression that finds what `owner` stores with these words; None where there is no word in it.

    Whatever is typed, it is never an error of syntax.

    All words must be there, "in quotes" next to each other, and those after "-" must not. At most 32 words count.
    """
    wanted: list[str] = []
    unwanted: list[str] = []
    room = _MOST_WORDS
    for minus, quoted, plain in _PIECES.findall(query):
        words = _WORDS.findall(quoted or plain)[:room]
        room -= len(words)
        if words:
            (unwanted if minus else wanted).append(_together(words))
    if not wanted and not unwanted:
        return None
    terms = [f'owner : "{owner_word(owner)}"', *(f"{{title content}} : ({term})" for term in wanted)]
    expression = " AND ".join(terms)
    if unwanted:
        expression = f"({expression}) NOT ({{title content}} : ({' OR '.join(unwanted)}))"
    return expression


def owner_word(owner: str) -> str:
    """Returns an owner as one word of the index, as the view `story_search_source` has it."""
    return f"z{owner.encode().hex()}z"


def _together(words: list[str]) -> str:
    if len(words) == 1 and is_cyrillic(words[0]):
        return " OR ".join(f'"{form}"' for form in forms(words[0]))
    return f'"{" ".join(words)}"'


_COLUMNS: Final = """
s.id, s.state, s.title, s.kind, s.child_id, s.hero_id, s.child_name, s.language_code, s.length_minutes, s.rating,
s.create_time, s.update_time, s.revision, a.duration,
(SELECT outline FROM story_bodies WHERE story_id = s.id) AS outline, (
    SELECT substr(group_concat(text, ''), 1, 201) FROM (
        SELECT text FROM story_texts WHERE story_id = s.id AND start <= 200 ORDER BY start
    )
) AS beginning
"""
_LATEST: Final = (1 << 63) - 1


def list_stories(
    tx: Transaction, owner: str, chosen: common_pb2.StoryFilter, *, limit: int, after: Position | None
) -> Sequence[common_pb2.StorySummary]:
    """Returns at most `limit` summaries, newest first, from the one behind `after` on."""
    terms, values = _conditions(chosen)
    if after is not None:
        terms.append("(s.create_time, s.id) < (?, ?)")
        values += [after.create_time, after.resource_id]
    where = " AND ".join(["s.owner = ?", *terms])
    if chosen.query:
        expression = to_expression(owner, chosen.query)
        return [] if expression is None else _search(tx, expression, where, (owner, *values), limit, after)
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM stories s LEFT JOIN story_audio a ON a.story_id = s.id"  # noqa: S608 - constants only
        f" WHERE {where} ORDER BY s.create_time DESC, s.id DESC LIMIT ?",
        (owner, *values, limit),
    )
    return [to_summary(row) for row in rows]


def _search(
    tx: Transaction,
    expression: str,
    where: str,
    values: Sequence[str | int],
    limit: int,
    after: Position | None,
) -> Sequence[common_pb2.StorySummary]:
    """Returns a page of what matches. The index orders it by time, and those of one moment in any way."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM story_search CROSS JOIN stories s ON s.search_id = story_search.rowid"  # noqa: S608
        " LEFT JOIN story_audio a ON a.story_id = s.id"
        f" WHERE story_search MATCH ? AND story_search.rowid <= ? AND {where} ORDER BY story_search.rowid DESC",
        (expression, _LATEST if after is None else last_search_id(after.create_time), *values),
    )
    found: list[Any] = []
    for row in rows:
        if len(found) >= limit and row["create_time"] != found[-1]["create_time"]:
            break
        found.append(row)
    rows.close()
    found.sort(key=lambda row: (row["create_time"], row["id"]), reverse=True)
    return [to_summary(row) for row in found[:limit]]


def last_search_id(create_time: int) -> int:
    """Returns the last `search_id` that a story of that time can have."""
    return min(create_time * 1024 + 1023, _LATEST)


def _conditions(chosen: common_pb2.StoryFilter) -> tuple[list[str], list[str | int]]:
    asked: list[tuple[object, str, str | int]] = [
        (chosen.child_id, "s.child_id = ?", chosen.child_id),
        (chosen.hero_id, "s.hero_id = ?", chosen.hero_id),
        (chosen.child_name, "s.child_name = ?", chosen.child_name),
        (chosen.language_code, "s.language_code = ?", chosen.language_code),
        (chosen.kind, "s.kind = ?", chosen.kind),
        (chosen.HasField("min_rating"), "s.rating >= ?", chosen.min_rating),
        (chosen.HasField("max_rating"), "s.rating <= ?", chosen.max_rating),
        (chosen.HasField("created_after"), "s.create_time >= ?", _microseconds(chosen.created_after)),
        (chosen.HasField("created_before"), "s.create_time < ?", _microseconds(chosen.created_before)),
    ]
    terms = [term for given, term, _ in asked if given]
    values = [value for given, _, value in asked if given]
    if len(chosen.states) == 1:
        terms.append("s.state = ?")
    elif chosen.states:
        # The plus prevents the use of an index that is not ordered by time.
        terms.append(f"+s.state IN ({','.join('?' * len(chosen.states))})")
    if chosen.states:
        values += list(chosen.states)
    return terms, values


def _microseconds(time: Timestamp) -> int:
    # Stored times are whole microseconds: "at or after" and "before" hold for a bound between two of them when it is
    # rounded up.
    return time.seconds * 1_000_000 - (-time.nanos // 1_000)


_LEAST_STEM: Final = 3
_MOST_LETTERS: Final = 40
_YE, _YO = "\N{CYRILLIC SMALL LETTER IE}", "\N{CYRILLIC SMALL LETTER IO}"
_REFLEXIVE: Final = ("ся", "сь")

# Of nouns; of adjectives and participles; of verbs.
_ENDINGS: Final = tuple(
    """
    а я о е ё ы и у ю ь ой ей ом ем ём ам ям ах ях ами ями ов ев ёв ия ие ии ию ий ием иям иях иями ье ьи ья ью ьями
    ый ая ое яя ее ого его ому ему ым им ых их ыми ими ую юю ою ею
    л ла ло ли ал ала ало али ял яла яло яли ил ила ило или ел ела ело ели ть ать ять ить еть ти
    ет ёт ит ат ят ут ют ают яют ает яет ешь ёшь ишь аешь ете ите йте й
    """.split()  # noqa: RUF001, SIM905 - Russian
)
_LONGEST_FIRST: Final = sorted(_ENDINGS, key=len, reverse=True)


def is_cyrillic(word: str) -> bool:
    """Returns True for a word that is all Cyrillic letters."""
    return bool(word) and all("\u0400" <= letter <= "\u04ff" for letter in word)


def forms(word: str) -> list[str]:
    """Returns the word itself, then its stem with every ending it may have; IE and IO are one letter in it.

    The stem is the word less its longest known ending; it has at least three letters.
    """
    word = word.lower()
    if len(word) > _MOST_LETTERS:
        return [word]
    bare = _without_particle(word)
    stem = _stem(bare)
    found = [spelling + ending for spelling in _spellings(stem) for ending in ("", *_ENDINGS)]
    if bare != word:
        found += [form + particle for form in found for particle in _REFLEXIVE]
    return list(dict.fromkeys([word, *found]))


def _without_particle(word: str) -> str:
    particle = next((one for one in _REFLEXIVE if word.endswith(one)), "")
    return word.removesuffix(particle) if len(word) > _LEAST_STEM + len(particle) else word


def _stem(word: str) -> str:
    fitting = (ending for ending in _LONGEST_FIRST if word.endswith(ending))
    return next((word.removesuffix(ending) for ending in fitting if len(word) >= _LEAST_STEM + len(ending)), word)


def _spellings(stem: str) -> list[str]:
    plain = stem.replace(_YO, _YE)
    return [plain, *(plain[:at] + _YO + plain[at + 1 :] for at, letter in enumerate(plain) if letter == _YE)]
