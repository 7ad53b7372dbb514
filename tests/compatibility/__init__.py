r"""Answers as servers really send them: a table of cases that the tests run, and docs/compatibility.md is made of.

A row is one `Case` in the module of its part: `wire`, `servers`, `answer`, `endings` or `budget`:

    Case(
        kind="Finish reasons",  # the heading under which the row stands
        sends="the whole story, `finish_reason` eos_token",  # what the document says, in Markdown
        answers=[stream(*pieces(WHOLE), Finish("eos_token"), DONE)],
        calls=1,
    ),

`answers` are given one a call, the last one to every further call; a function of the `Call` answers in any other way.
They are made with `support.openrouter_fake`, and `WHOLE` (title and text) of `support.story_models` is the story that
comes out of a good run: without more, a case holds that the outcome is READY with exactly `TITLE` and `TEXT`. Else say
`outcome="CONTENT_REFUSED"` (a reason), `outcome="READY, ENDING_MISSING"` (warnings, in the order in which they came),
`text=joined(14)`, `says="CHAT_BASE_URL"` (a part of the error's message), `check=` (a function of the `Telling`, and of
the server), `request={"length_minutes": 5, "provider_wait": 60}` and `settings={"model": "offline"}`.

Every case runs against each of `servers`, in virtual time, so timeouts, pauses (`Pause(90)`) and waits cost nothing.
The words of `sends` are those of a document: tests/unit/test_docs_words.py.

After a change `make docs` writes the rows with the calls and outcomes that the runs gave, and

    .venv/bin/python -m pytest tests/compatibility -q

fails where a run gives something else than its case says, or than its row in the document.
"""
