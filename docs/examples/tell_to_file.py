"""Makes one story: prints the text while it is written, and saves the audio as story.mp3."""
# ruff: noqa: INP001, T201 - an example is no package, and prints

import asyncio

from tale.common.v1 import common_pb2
from tale_client import AsyncTaleClient, TaleError


async def main() -> None:
    spec = common_pb2.StorySpec(
        child=common_pb2.Child(name="Mia", age=6, interests=["dragons", "the sea"]),
        wish="a dragon who cannot sleep",
        moral="kindness",
        avoid=["a storm"],
        audience_note="She has been afraid of the dark since she moved house.",
        length_minutes=1,
    )
    async with AsyncTaleClient() as client:  # GATEWAY_TARGET, or 127.0.0.1:50051
        async for event in client.tell(spec):
            match event.WhichOneof("event"):
                case "title":
                    print(event.title.title, end="\n\n")
                case "text":
                    print(event.text.delta, end="", flush=True)
                case "done":
                    story = event.done.story  # READY, READY_WITHOUT_AUDIO, FAILED: see its state and problems
        for problem in story.problems:
            print(f"\n{problem.message} {problem.remedy}")
        if story.HasField("audio"):
            audio = await client.save_audio(story.id, "story.mp3")  # verified with its SHA-256
            print(f"\n\nstory.mp3 sounds for {audio.duration.seconds} seconds.")


try:
    asyncio.run(main())
except TaleError as error:
    raise SystemExit(f"{error.reason}: {error.message}") from None
