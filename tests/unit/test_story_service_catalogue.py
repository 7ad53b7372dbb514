"""The catalogue of a provider, the list of all models, and its pages."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from story_service.chat import UpstreamModel
from story_service.models.catalogue import Catalogue, ListedModel, ModelFacts, ModelList, Price
from story_service.models.known_models import KNOWN_MODELS
from story_service.models.names import ModelNames
from story_service.ports import CHAT, OFFLINE, OPENROUTER


def _list(
    *catalogues: Catalogue,
    default: str = "openai/gpt-4o-mini",
    fallbacks: tuple[str, ...] = ("vendor/own", "offline"),
    facts: Callable[[str], ModelFacts] = lambda _: ModelFacts(),
) -> ModelList:
    return ModelList(catalogues, default=lambda: default, fallback_models=fallbacks, language_codes=["en"], facts=facts)


def _chat(*ids: str, free: bool = False) -> Catalogue:
    catalogue = Catalogue(CHAT, free=free)
    catalogue.refresh([UpstreamModel(id=model_id, name=model_id) for model_id in ids])
    return catalogue


@given(count=st.integers(0, 30), size=st.integers(1, 12))
def test_pages_hold_every_model_once(count: int, size: int) -> None:
    """Following the tokens gives all models in order, in pages that are not too long, and then ends."""
    ids = [f"m{n}:latest" for n in range(count)]
    models = _list(_chat(*ids), default="", fallbacks=())
    seen: list[str] = []
    token = ""
    for _ in range(count + 2):
        page = models.page(size, token)
        assert len(page.models) <= size
        seen += [listed.info.id for listed in page.models]
        token = page.next_token
        if not token:
            break

    assert token == ""
    assert [*ids, OFFLINE] == seen


@pytest.mark.parametrize("token", ["x", "é", "!!!!", base64.urlsafe_b64encode(b"vendor/other").decode(), "/w=="])
def test_token_that_was_never_given_is_refused(token: str) -> None:
    """Junk, and tokens of models that are not there, are ValueErrors."""
    with pytest.raises(ValueError, match="not a page token"):
        _list(Catalogue()).page(2, token)


@pytest.mark.parametrize(("fallbacks", "position"), [((), 0), (("a/b", "offline"), 2), (("offline",), 1)])
def test_embedded_writer_tells_its_place(fallbacks: tuple[str, ...], position: int) -> None:
    """`fallback_position` counts from 1 in the configured order; 0 is not in it."""
    model = _by_id(_list(fallbacks=fallbacks))[OFFLINE].info

    assert (position, True, True) == (model.fallback_position, model.embedded, model.is_default)


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        *((alias, model.id) for model in KNOWN_MODELS for alias in model.aliases),
        ("gpt_4o", "openai/gpt-4o"),
        ("OpenAI/GPT-4o", "openai/gpt-4o"),
        ("Offline", "offline"),
        ("some-vendor/some.model:nitro", "some-vendor/some.model:nitro"),
        ("openrouter:openai/gpt-4o", "openai/gpt-4o"),
        ("OpenRouter:GPT_4O", "openai/gpt-4o"),
        ("openrouter/auto", "openrouter/auto"),
        ("~anthropic/claude-latest", "~anthropic/claude-latest"),
        ("@preset/bedtime", "@preset/bedtime"),
        ("openai/gpt-4o@preset/bedtime", "openai/gpt-4o@preset/bedtime"),
        ("deepseek/deepseek-r1/free", "deepseek/deepseek-r1/free"),
        ("vendor/name:free:online", "vendor/name:free:online"),
    ],
)
@pytest.mark.parametrize("providers", [(), (OPENROUTER,), (OPENROUTER, CHAT)])
def test_name_means_a_model_of_openrouter(name: str, model_id: str, providers: tuple[str, ...]) -> None:
    """Symbolic names and known ids in any case, and any other id of OpenRouter's form, with or without the prefix."""
    assert model_id == ModelNames(providers).resolve(name)


@pytest.mark.parametrize(
    "name",
    [
        "llama3.2:3b",
        "qwen2.5-7b-instruct",
        "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M",
        "gpt-4o",
        "/models/My Model.gguf",
        "модель",
        "x" * 200,
    ],
)
@pytest.mark.parametrize("providers", [(CHAT,), (OPENROUTER, CHAT)])
def test_any_other_name_means_a_model_of_the_chat_server(name: str, providers: tuple[str, ...]) -> None:
    """Whatever characters it has; the prefix says the same."""
    names = ModelNames(providers)

    assert f"chat:{name}" == names.resolve(name) == names.resolve(f"chat:{name}")


@pytest.mark.parametrize("name", ["openai/gpt-4o", "GPT_4O", "~a/b", "openrouter/auto"])
def test_name_without_prefix_is_of_the_only_provider(name: str) -> None:
    """Ids of OpenRouter's form too; where both are configured they need the prefix."""
    assert f"chat:{name}" == ModelNames((CHAT,)).resolve(name)
    assert f"chat:{name}" == ModelNames((OPENROUTER, CHAT)).resolve(f"chat:{name}")
    assert ModelNames((OPENROUTER,)).resolve(name) == ModelNames((CHAT,)).resolve(f"openrouter:{name}")


@pytest.mark.parametrize("name", ["", "GPT_5O", "gpt-4o", "a/b/c/d", "a /b", "x/" + "y" * 200, "openrouter:gpt-4o"])
@pytest.mark.parametrize("providers", [(), (OPENROUTER,)])
def test_name_of_no_model_is_refused(name: str, providers: tuple[str, ...]) -> None:
    """What is neither known nor of the form vendor/name is a ValueError that says what brings other ids."""
    with pytest.raises(ValueError, match=r"vendor/name; any other id needs CHAT_BASE_URL"):
        ModelNames(providers).resolve(name)


@pytest.mark.parametrize("name", ["chat:", "chat: a", "chat:a\nb", "chat:" + "y" * 201, " a"])
def test_id_that_cannot_be_sent_is_refused(name: str) -> None:
    """Empty, unprintable, too long, or with blanks around it."""
    with pytest.raises(ValueError, match="printable characters"):
        ModelNames((CHAT,)).resolve(name)


def test_every_known_model_says_what_it_is() -> None:
    """Provider, use, a price and a length stand behind each, under one id and one name."""
    assert all(model.provider and model.description and model.context_length > 0 for model in KNOWN_MODELS)
    assert all(Catalogue().price_of(model.id) is not None for model in KNOWN_MODELS)
    assert 11 == len({model.id for model in KNOWN_MODELS}) == len({model.aliases for model in KNOWN_MODELS})


def _by_id(models: ModelList) -> dict[str, ListedModel]:
    return {listed.info.id: listed for listed in models.page(100, "").models}


def test_models_are_listed_in_the_order_in_which_they_are_tried() -> None:
    """The default, the fallbacks with their places, then the known ones: each once, and none of the 300 others."""
    models = [listed.info for listed in _list(Catalogue()).page(100, "").models]

    assert ["openai/gpt-4o-mini", "vendor/own", "offline"] == [model.id for model in models[:3]]
    assert [0, 1, 2] == [model.fallback_position for model in models[:3]]
    assert ["openai/gpt-4o-mini"] == [model.id for model in models if model.is_default]
    assert {"vendor/own", "offline", *(model.id for model in KNOWN_MODELS)} == {model.id for model in models}
    assert len(models) == len(KNOWN_MODELS) + 2


def test_without_a_provider_the_embedded_writer_is_the_only_one_available() -> None:
    """It is the default then; the others are listed with what is missing."""
    models = _list().page(100, "").models

    assert ["offline"] == [listed.info.id for listed in models if listed.facts.available]
    assert ["offline"] == [listed.info.id for listed in models if listed.info.is_default]
    for variable in ("OPENROUTER_API_KEY", "CHAT_BASE_URL"):
        assert all(variable in listed.facts.unavailable_reason for listed in models[1:])


def test_models_of_the_chat_server_are_those_that_it_lists() -> None:
    """By their own ids, the default first, and nothing of OpenRouter; what does not write is left out."""
    catalogue = Catalogue(CHAT)
    catalogue.refresh(
        [
            UpstreamModel(id="nomic-embed-text:latest", name="", writes=False),
            UpstreamModel(id="llama3.2:3b", name="Llama", context_length=4_096),
            UpstreamModel(id="qwen2.5:latest", name="Qwen"),
        ]
    )
    models = _list(catalogue, default="chat:qwen2.5", fallbacks=("chat:gone",)).page(100, "").models

    assert ["qwen2.5", "gone", "llama3.2:3b", "qwen2.5:latest", "offline"] == [each.info.id for each in models]
    assert [True, False, True, True, True] == [each.facts.available for each in models]
    assert "CHAT_BASE_URL" in models[1].facts.unavailable_reason
    assert ["qwen2.5"] == [each.info.id for each in models if each.info.is_default]
    assert ("Llama", "chat", 4_096) == (
        models[2].info.display_name,
        models[2].info.provider,
        models[2].info.context_length,
    )


def test_models_of_two_providers_are_told_apart() -> None:
    """Those of the chat server have its prefix; each is judged by its own provider's list."""
    openrouter = Catalogue()
    openrouter.refresh([UpstreamModel(id="openai/gpt-4o", name="GPT")])
    models = _by_id(_list(openrouter, _chat("openai/gpt-4o-mini"), fallbacks=("chat:openai/gpt-4o-mini",)))

    assert not models["openai/gpt-4o-mini"].facts.available
    assert models["chat:openai/gpt-4o-mini"].facts.available
    assert 1 == models["chat:openai/gpt-4o-mini"].info.fallback_position
    assert models["openai/gpt-4o"].facts.available


@pytest.mark.parametrize(("free", "price"), [(True, Price(0.0, 0.0)), (False, None)])
def test_server_of_ones_own_without_a_key_is_free(free: bool, price: Price | None) -> None:
    """So that `max_cost_usd` holds; any other server without prices is unknown."""
    catalogue = _chat("llama3.2:3b", free=free)

    assert price == catalogue.highest_price_of("llama3.2:3b") == catalogue.price_of("never-listed")


def test_what_the_provider_tells_takes_the_place_of_what_was_known() -> None:
    """Prices, name and length are the fresh ones; what it does not offer is not available; nothing else is listed."""
    catalogue = Catalogue()
    catalogue.refresh(
        [
            UpstreamModel(
                id="openai/gpt-4o-mini",
                name="OpenAI: GPT-4o-mini",
                prompt_usd_per_million_tokens=1.0,
                completion_usd_per_million_tokens=2.0,
                context_length=64_000,
                max_completion_tokens=16_384,
            ),
            UpstreamModel(
                id="vendor/other", name="", prompt_usd_per_million_tokens=3.0, completion_usd_per_million_tokens=4.0
            ),
        ]
    )
    models = _by_id(_list(catalogue))

    mini = models["openai/gpt-4o-mini"]
    assert ("OpenAI: GPT-4o-mini", 64_000, 16_384) == (
        mini.info.display_name,
        mini.info.context_length,
        mini.info.max_completion_tokens,
    )
    assert mini.facts.available
    assert mini.info.is_default
    assert not models["openai/gpt-4o"].facts.available
    assert "not offer" in models["vendor/own"].facts.unavailable_reason
    assert models[OFFLINE].facts.available
    assert "vendor/other" not in models
    assert Price(1.0, 2.0) == catalogue.price_of("openai/gpt-4o-mini")
    assert Price(3.0, 4.0) == catalogue.price_of("vendor/other")
    assert catalogue.price_of("vendor/nobody-knows") is None


def test_way_of_routing_is_offered_where_its_model_is() -> None:
    """OpenRouter lists `vendor/own` and takes `vendor/own:nitro`, as long, and up to three times as dear."""
    catalogue = Catalogue()
    catalogue.refresh(
        [
            UpstreamModel(
                id="vendor/own",
                name="Own",
                prompt_usd_per_million_tokens=3.0,
                completion_usd_per_million_tokens=4.0,
                context_length=64_000,
            )
        ]
    )

    models = _by_id(_list(catalogue, default="vendor/own:nitro"))
    assert models["vendor/own:nitro"].facts.available
    assert ("own:nitro", 64_000) == (
        models["vendor/own:nitro"].info.display_name,
        catalogue.find("vendor/own:nitro").context_length,
    )
    assert Price(3.0, 4.0) == catalogue.price_of("vendor/own:nitro")
    assert [Price(3.0, 4.0), Price(3.0, 4.0), Price(9.0, 12.0), Price(9.0, 12.0), None, None] == [
        catalogue.highest_price_of(f"vendor/own{variant}")
        for variant in ("", ":floor", ":nitro", ":exacto", ":online", ":unheard-of")
    ]


def test_way_of_routing_a_known_model_is_that_model() -> None:
    """Before anybody was asked: its lengths, its price, and whether it takes a prefill."""
    catalogue = Catalogue()
    known, routed = catalogue.find("anthropic/claude-3.5-sonnet"), catalogue.find("anthropic/claude-3.5-sonnet:nitro")

    assert (known.context_length, known.accepts_prefill) == (routed.context_length, routed.accepts_prefill)
    assert ("anthropic/claude-3.5-sonnet:nitro", ()) == (routed.id, routed.aliases)
    assert None is catalogue.price_of("anthropic/claude-3.5-sonnet:free")


def test_older_list_is_marked_until_it_is_refreshed() -> None:
    """A refresh that failed leaves the list as it was and says so."""
    catalogue = Catalogue()
    models = _list(catalogue)
    before = models.page(100, "")
    catalogue.refresh_failed()
    stale = models.page(100, "")
    catalogue.refresh([])

    assert (False, True, False) == (before.stale, stale.stale, models.page(100, "").stale)
    assert before.models == stale.models


def test_state_of_a_circuit_is_shown() -> None:
    """Facts stand beside their model."""
    facts = {"vendor/own": ModelFacts(available=False, unavailable_reason="Later.", circuit_state="open")}
    models = _by_id(_list(Catalogue(), facts=lambda model: facts.get(model, ModelFacts())))

    assert facts["vendor/own"] == models["vendor/own"].facts
    assert ModelFacts() == models["openai/gpt-4o"].facts


@pytest.mark.parametrize(
    ("model", "accepted"),
    [
        ("anthropic/claude-3-haiku", True),
        ("anthropic/claude-3.5-sonnet", True),
        ("anthropic/claude-opus-4.6", False),
        ("openai/gpt-4o", False),
        ("vendor/own", False),
    ],
)
def test_prefill_is_for_those_who_are_known_to_take_it(model: str, accepted: bool) -> None:
    """Everybody else goes on by instruction, and so does each model of a chat server."""
    assert accepted is Catalogue().accepts_prefill(model)
    assert not Catalogue(CHAT).accepts_prefill(model)
