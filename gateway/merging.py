"""Two checkpoints of one story as one."""

from tale.storage.v1 import storage_pb2


def merge(into: storage_pb2.StoryCheckpoint, more: storage_pb2.StoryCheckpoint) -> bool:
    """Adds `more`, which comes after `into`; False, and nothing is changed, where one message cannot say both."""
    begins_anew = more.HasField("narration") and (into.HasField("narration") or into.segments)
    if begins_anew or (more.HasField("generation") and into.HasField("generation")):
        return False
    text = None
    if more.HasField("text") and into.HasField("text"):
        if more.text.offset != into.text.offset + len(into.text.text):
            return False
        text = storage_pb2.TextAppend(offset=into.text.offset, text=into.text.text + more.text.text)
    lines = {line.attempt_id for line in more.attempts}
    replaced = [line for line in into.attempts if line.attempt_id in lines]
    into.MergeFrom(more)
    if text is not None:
        into.text.CopyFrom(text)
    for line in replaced:
        into.attempts.remove(line)
    return True


def copy(checkpoint: storage_pb2.StoryCheckpoint) -> storage_pb2.StoryCheckpoint:
    """A checkpoint that can be merged into without a trace."""
    twin = storage_pb2.StoryCheckpoint()
    twin.CopyFrom(checkpoint)
    return twin
