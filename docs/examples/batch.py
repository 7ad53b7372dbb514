"""Makes tonight's story for every stored child, four at a time, without an event loop."""
# ruff: noqa: INP001, T201 - an example is no package, and prints

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from tale.common.v1 import common_pb2
from tale_client import TaleClient, TaleError

NIGHT = sys.argv[1] if len(sys.argv) > 1 else datetime.now(UTC).date().isoformat()
OUT = Path("tonight")


def tell(client: TaleClient, child: common_pb2.Child) -> str:
    spec = common_pb2.StorySpec(child_id=child.id, theme="a quiet night", length_minutes=1)
    try:
        # With the same request id, a second run of this program gets the story of the first one and pays nothing.
        *_, last = client.tell(spec, request_id=f"tonight:{NIGHT}:{child.id}")
        story = last.done.story
        if not story.HasField("audio"):
            return f"{child.name}: no audio; {'; '.join(problem.message for problem in story.problems)}"
        client.save_audio(story.id, OUT / f"{child.id}.mp3")
    except TaleError as error:
        return f"{child.name}: {error.reason}: {error.message}"
    return f"{child.name}: {story.title}"


with TaleClient() as client:  # safe for any number of threads
    children = list(client.list_children())
    with ThreadPoolExecutor(4) as pool:
        for line in pool.map(lambda child: tell(client, child), children):
            print(line)
