"""Servers: names of models, keys, lists and fields that they refuse."""

from typing import Final

from support.openrouter_fake import DONE, Finish, OpenRouterFake, Pause, error, pieces, story, stream
from support.story_models import WHOLE, Telling

from compatibility.harness import Case, Server

_HALF: Final = WHOLE[: len(WHOLE) // 2]
_CHAT: Final = (Server.CHAT,)
_OPENROUTER: Final = (Server.OPENROUTER,)


def _named(model: str, *, by: str = "", servers: tuple[Server, ...]) -> Case:
    """The model is called by its own id, whatever it is written as."""

    def check(telling: Telling, upstream: OpenRouterFake) -> None:
        assert [model] == [call.model for call in upstream.calls]
        assert model == telling.whole.model

    written = f", written as `{by}`" if by else ""
    return Case(
        kind="Names of models",
        sends=f"the whole story for a model named `{model}`{written}",
        answers=[story(WHOLE)],
        request={"model": by or model},
        servers=servers,
        calls=1,
        check=check,
    )


def _list(sends: str, *models: str, outcome: str = "READY", says: str = "") -> Case:
    """Without STORY_MODEL."""
    return Case(
        kind="Lists of models, without `STORY_MODEL`",
        sends=sends,
        answers=[story(WHOLE)],
        models=models,
        settings={"model": ""},
        servers=_CHAT,
        outcome=outcome,
        says=says,
        calls=1 if outcome == "READY" else 0,
    )


def _away(telling: Telling, _: OpenRouterFake) -> None:
    """It says what it waits for while it does."""
    notice = next(each for each in telling.warnings if "CHAT_BASE_URL" in each.message)
    assert "WAITING_FOR_PROVIDER" == notice.reason
    assert "no connection to the server" in notice.message


CASES: Final[tuple[Case, ...]] = (
    *(
        Case(
            kind="Lists of models, without `STORY_MODEL`" if not model else "Calls that fail",
            sends="nothing: no server is there, to a story that may wait for a minute",
            answers=[story(WHOLE)],
            settings={"chat_base_url": "http://127.0.0.1:9/v1", "model": model},
            request={"provider_wait": 60},
            servers=_CHAT,
            calls=0,
            outcome="NETWORK_ERROR",
            says="no connection to the server. Is it running? CHAT_BASE_URL=",
            check=_away,
        )
        for model in ("", "a/first")
    ),
    _named("openai/gpt-4o", servers=(Server.OPENROUTER, Server.CHAT)),
    _named("llama3.2:3b", servers=_CHAT),
    _named("qwen2.5-7b-instruct", servers=_CHAT),
    _named("hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", servers=_CHAT),
    _named("gpt-4o", servers=_CHAT),
    _named("/models/My Model (v2).gguf", servers=_CHAT),
    _named("llama3.2:3b", by="chat:llama3.2:3b", servers=_CHAT),
    _named("openrouter/auto", servers=_OPENROUTER),
    _named("@preset/bedtime", servers=_OPENROUTER),
    _named("~anthropic/claude-latest", servers=_OPENROUTER),
    _named("deepseek/deepseek-r1/free", servers=_OPENROUTER),
    _named("openai/gpt-4o", by="openrouter:GPT_4O", servers=_OPENROUTER),
    Case(
        kind="Names of models",
        sends="404, since it has no such model",
        answers=[error(404, message="model 'gone' not found, try pulling it first")],
        request={"model": "gone"},
        servers=_CHAT,
        outcome="MODEL_NOT_FOUND",
        calls=1,
    ),
    Case(
        kind="Names of models",
        sends="nothing: the model is of a provider that is not configured",
        answers=[story(WHOLE)],
        request={"model": "openrouter:openai/gpt-4o"},
        servers=_CHAT,
        outcome="INVALID_CONFIGURATION",
        says="OPENROUTER_API_KEY",
        calls=0,
    ),
    Case(
        kind="Names of models",
        sends="nothing: the model is of a chat server, and none is configured",
        answers=[story(WHOLE)],
        request={"model": "chat:llama3.2:3b"},
        servers=_OPENROUTER,
        outcome="INVALID_CONFIGURATION",
        says="CHAT_BASE_URL",
        calls=0,
    ),
    _list("one model", "llama3.2:3b"),
    _list("one model that writes, beside embeddings and speech", "nomic-embed-text:latest", "llama3.2:3b", "whisper-1"),
    _list(
        "several models that write",
        "llama3.2:3b",
        "qwen2.5:7b",
        outcome="INVALID_CONFIGURATION",
        says="2 models that write (llama3.2:3b, qwen2.5:7b). Set STORY_MODEL",
    ),
    _list("no model that writes", "bge-m3:latest", outcome="INVALID_CONFIGURATION", says="lists no model that writes"),
    Case(
        kind="Names of models",
        sends="a list in which the model of `STORY_MODEL` is not",
        answers=[story(WHOLE)],
        models=("other",),
        servers=_CHAT,
        calls=1,
    ),
    Case(
        kind="Slow servers",
        sends="nothing for nine minutes, then the whole story",
        answers=[stream(Pause(540), *story(WHOLE).steps)],
        servers=_CHAT,
        calls=1,
    ),
    Case(
        kind="Slow servers",
        sends="the whole story with four minutes of silence in the middle",
        answers=[stream(*pieces(_HALF), Pause(240), *pieces(WHOLE[len(_HALF) :]), Finish("stop"), DONE)],
        servers=_CHAT,
        calls=1,
    ),
    Case(
        kind="Cost",
        sends="the whole story, for `max_cost_usd` 0.01, from a server in the own network without a key",
        answers=[story(WHOLE)],
        request={"max_cost_usd": 0.01},
        servers=_CHAT,
        calls=1,
    ),
    Case(
        kind="Cost",
        sends="nothing, for `max_cost_usd` 0.01: a server with a key whose prices are not known",
        answers=[story(WHOLE)],
        request={"max_cost_usd": 0.01},
        settings={"chat_api_key": "key"},
        servers=_CHAT,
        outcome="COST_LIMIT",
        calls=0,
    ),
)
