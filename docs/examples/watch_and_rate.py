"""Creates a story, stops following it in the middle, continues later from that point, and rates it."""
# ruff: noqa: INP001, T201 - an example is no package, and prints

from contextlib import closing

from tale.common.v1 import common_pb2
from tale_client import TaleClient

spec = common_pb2.StorySpec(child=common_pb2.Child(name="Leo", age=5), wish="a lost boat", length_minutes=1)

with TaleClient() as client:
    story = client.create_story(spec)  # it is made whether or not a caller follows it
    heard = ""
    with closing(client.watch(story.id)) as events:  # reconnects when a connection is lost
        for event in events:
            heard += event.text.delta
            if heard:
                break  # the phone rings

print(heard, end="")
with TaleClient() as client:  # another program can continue: it needs the id and the offset
    for event in client.watch(story.id, text_offset=len(heard)):
        print(event.text.delta, end="", flush=True)
        if event.HasField("done"):
            story = client.rate_story(story.id, 9)
    print(f"\n\n{story.title}: {story.rating} of 10")
