"""Randomness that depends on the brief alone, never on the process."""

import hashlib
import json
import random
from dataclasses import asdict

from story_service.offline.brief import OfflineBrief


def random_for(brief: OfflineBrief, purpose: str) -> random.Random:
    """Seeded by sha256 of the canonical brief and the purpose: `hash()` differs from one process to the next."""
    canonical = json.dumps([purpose, asdict(brief)], sort_keys=True, ensure_ascii=True)
    return random.Random(hashlib.sha256(canonical.encode()).digest())
