r"""Answers as servers really send them: tables of cases that the tests run, and docs/compatibility.md is made of.

**Models.** A row is one `Case` in the module of its part: `wire`, `servers`, `answer`, `endings`, `budget`, `reports`:

    Case(
        kind="Ends of an answer",  # the heading under which the row stands
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
Every case runs against each of `servers`.

**Voices.** A row is one `VoiceCase` in `CASES` of a module `voice_<part>.py` here, which is found by its name:

    VoiceCase(
        kind="Calls for speech that fail",
        sends="status 500 once, then each segment",
        speech=[Reply(status=500), Reply()],  # of `support.speech_fake`: the server of SPEECH_BASE_URL
        calls=WHOLE + 1,
        seconds=22.7,  # of sound, in all
        speakers=["speech/af_heart"],
    ),

`speech` and `elevenlabs` (`Fault` of `support.elevenlabs_fake`, None in place of one being a good answer) are given one
a call, the last one to every further call, or are functions of the call and its number, from 1 on. `Reply()` is what
the fake speaks: 15 characters a second. `Reply(body=…, content_type=…, headers=…, cut_after=…, delay=…)` and
`Fault(sound=…, breaks=…, delay=…)` change it; `SpeechFake().sound(body, "wav")` makes bytes; `prepare=` changes lists
and pace (`upstreams.speech.work`, `.threads`, `upstreams.elevenlabs.voices`). A provider without answers is not
configured.
The story is `TITLE` and `TEXT`, in English; else `title=`, `texts=`, `language_code=`, `voice={"voice_id": …}` (the
VoiceSelection) and `settings={"speech_voice": …}` of the service, where "{speech}" stands for the server's address.
Several `texts` are several stories, `at_once` or one after the other.
Each is narrated by the run of a gateway (its retries, its ledger) and the whole voice service; storage is a record in
memory; `killed_after=(15.0,)` kills the run after 15 seconds and continues with another one. That a READY story has
every text spoken, and as much sound in its file as the manifest says, is checked for every case; more in `check=`, a
function of the `VoiceResult`: `.upstreams.texts`, `.samples()`, `.stories[0].segments`, `.took`.

Everything runs in virtual time, so timeouts, delays, pauses (`Pause(90)`) and waits cost nothing; not so where the
embedded voice speaks, which has processes of its own.
The words of `sends` are those of a document: tests/unit/test_docs_words.py.

After a change `make docs` writes the rows with the calls and outcomes that the runs gave, and

    .venv/bin/python -m pytest tests/compatibility -q

fails where a run gives something else than its case says, or than its row in the document.
"""
