"""Budgets: how many calls a failing server gets, and which cause is reported."""

from typing import Final

from support.openrouter_fake import DONE, Event, Finish, Pause, Raw, Usage, error, pieces, story, stream
from support.story_models import TITLE, WHOLE

from compatibility.harness import Case

_THOUGHT: Final = Event({"choices": [{"index": 0, "delta": {"content": "", "reasoning": "Hm."}}]})
_WAITS: Final = {"provider_wait": 600}

CASES: Final[tuple[Case, ...]] = (
    Case(
        kind="Calls that fail",
        sends="status 401 to every call",
        answers=[error(401, message="No auth credentials found")],
        calls=1,
        outcome="UPSTREAM_AUTH",
        says="_API_KEY",
    ),
    Case(
        kind="Calls that fail",
        sends="status 402 to every call",
        answers=[error(402, message="Insufficient credits")],
        calls=1,
        outcome="QUOTA_EXCEEDED",
        says='The provider says: "Insufficient credits".',
    ),
    Case(
        kind="Calls that fail",
        sends="status 429 with a pause until tomorrow, to a story that may wait for ten minutes",
        answers=[error(429, message="Daily limit reached", retry_after="50000")],
        calls=1,
        outcome="QUOTA_EXCEEDED",
        says="UTC",
        request=_WAITS,
    ),
    Case(
        kind="Calls that fail",
        sends="status 500 to every call, to a story that may not wait",
        answers=[error(500, message="boom")],
        calls=4,
        outcome="UPSTREAM_UNAVAILABLE",
    ),
    Case(
        kind="Calls that fail",
        sends="status 500 to the first five calls, to a story that may wait for ten minutes",
        answers=[*[error(500, message="boom")] * 5, story(WHOLE)],
        calls=6,
        outcome="READY, WAITING_FOR_PROVIDER",
        request=_WAITS,
    ),
    Case(
        kind="Calls that fail",
        sends="status 429 without a pause to the first six calls, to a story that may wait for ten minutes",
        answers=[*[error(429, message="Too many requests")] * 6, story(WHOLE)],
        calls=7,
        outcome="READY, WAITING_FOR_PROVIDER",
        request=_WAITS,
    ),
    Case(
        kind="Calls that fail",
        sends="only thoughts in every answer",
        answers=[stream(*[_THOUGHT] * 5, Finish(), Usage(), DONE)],
        calls=2,
        outcome="UPSTREAM_UNAVAILABLE",
        request=_WAITS,
    ),
    Case(
        kind="Calls that fail",
        sends="two sentences and a proper end in every answer, of a story of 150 words",
        answers=[story(f"{TITLE}\n\nOnce there was an owl. She slept.")],
        calls=2,
        outcome="UPSTREAM_UNAVAILABLE",
        text="",
        request=_WAITS,
    ),
    Case(
        kind="Calls that fail",
        sends="thoughts for ever",
        answers=lambda _: stream(*[step for _ in range(400) for step in (Pause(10), _THOUGHT)]),
        calls=2,
        outcome="NETWORK_ERROR",
        says="the answer took too long",
        request=_WAITS,
    ),
    Case(
        kind="Calls that fail",
        sends="status 503 while it loads the model, for ever",
        answers=[error(503, message="Loading model")],
        calls=400,
        outcome="INVALID_CONFIGURATION",
        says="still loads the model, after 20 minutes; see",
    ),
    Case(
        kind="Calls that fail",
        sends="the same refusal of a field to every call, under 200",
        answers=[error(400, code=None, message="streaming is not supported", http_status=200)],
        calls=3,
        outcome="UPSTREAM_REFUSED",
        says='The provider says: "streaming is not supported".',
    ),
    Case(
        kind="Calls that fail",
        sends="the same refusal of a field to every call, under 500",
        answers=[error(500, message="parameter temperature is not supported")],
        calls=2,
        outcome="UPSTREAM_REFUSED",
        says="temperature",
    ),
    *(
        Case(
            kind="Ends of an answer",
            sends=f"the whole story and a finish reason, then `{tail}`",
            answers=[stream(*pieces(WHOLE), Finish(), Raw(f"data: {tail}\n\n".encode()), DONE)],
            calls=1,
        )
        for tail in ('"[DONE]"', "[done]", '{"usage": {"cost": NaN}}', '{"error": {"message": "no usage"}}')
    ),
)
