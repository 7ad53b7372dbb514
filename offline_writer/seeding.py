"""Randomness that depends on the brief alone, never on the process."""

import hashlib
import json
import random
from dataclasses import asdict, fields

from offline_writer.brief import OfflineBrief


def random_for(brief: OfflineBrief, purpose: str) -> random.Random:
    """Seeded by sha256 of the canonical brief and the purpose: `hash()` differs from one process to the next.

    Fields left at their defaults do not count, so that a story stays the same when briefs get new ones.
    """
    given = {field.name: getattr(brief, field.name) for field in fields(brief)}
    told = {field.name for field in fields(brief) if given[field.name] != field.default}
    canonical = json.dumps(
        [purpose, {name: value for name, value in asdict(brief).items() if name in told}],
        sort_keys=True, ensure_ascii=True,
    )  # fmt: skip
    return random.Random(hashlib.sha256(canonical.encode()).digest())
