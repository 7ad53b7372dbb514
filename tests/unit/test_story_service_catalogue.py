"""The catalogue and its pages."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from story_service.chat import UpstreamModel
from story_service.models.catalogue import (
    Catalogue,
    ListedModel,
    ModelFacts,
    Price,
    embedded_model,
    listed_models,
    resolve,
)
from story_service.models.known_models import KNOWN_MODELS, ModelInfo
from story_service.ports import OFFLINE


def _models(count: int) -> list[ModelInfo]:
    return [ModelInfo(id=f"vendor/m{n}", display_name="", provider="", description="") for n in range(count)]


@given(count=st.integers(0, 30), size=st.integers(1, 12))
def test_pages_hold_every_model_once(count: int, size: int) -> None:
    """Following the tokens gives all models in order, in pages that are not too long, and then ends."""
    catalogue = Catalogue(_models(count))
    seen: list[str] = []
    token = ""
    for _ in range(count + 1):
        page = catalogue.page(size, token)
        assert len(page.models) <= size
        seen += [listed.info.id for listed in page.models]
        token = page.next_token
        if not token:
            break

    assert token == ""
    assert [model.id for model in _models(count)] == seen


@pytest.mark.parametrize("token", ["x", "é", "!!!!", base64.urlsafe_b64encode(b"vendor/other").decode(), "/w=="])
def test_token_that_was_never_given_is_refused(token: str) -> None:
    """Junk, and tokens of models that are not there, are ValueErrors."""
    with pytest.raises(ValueError, match="not a page token"):
        Catalogue(_models(3)).page(2, token)


@pytest.mark.parametrize(("fallbacks", "position"), [((), 0), (("a/b", "offline"), 2), (("offline",), 1)])
def test_embedded_writer_tells_its_place(fallbacks: tuple[str, ...], position: int) -> None:
    """`fallback_position` counts from 1 in the configured order; 0 is not in it."""
    model = embedded_model(language_codes=["en"], fallback_models=fallbacks)

    assert (position, True, True) == (model.fallback_position, model.embedded, model.is_default)


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("GPT_4O", "openai/gpt-4o"),
        ("GPT_4O_MINI", "openai/gpt-4o-mini"),
        ("CLAUDE_3_5_SONNET", "anthropic/claude-3.5-sonnet"),
        ("CLAUDE_3_HAIKU", "anthropic/claude-3-haiku"),
        ("LLAMA_3_1_405B", "meta-llama/llama-3.1-405b-instruct"),
        ("LLAMA_3_1_70B", "meta-llama/llama-3.1-70b-instruct"),
        ("LLAMA_3_1_8B", "meta-llama/llama-3.1-8b-instruct"),
        ("GEMMA_2_27B", "google/gemma-2-27b-it"),
        ("MIXTRAL_8X22B", "mistralai/mixtral-8x22b-instruct"),
        ("GEMINI_20_FREE", "google/gemini-2.0-flash-exp:free"),
        ("GROK_41_FREE", "x-ai/grok-4.1-fast:free"),
        ("gpt_4o", "openai/gpt-4o"),
        ("OpenAI/GPT-4o", "openai/gpt-4o"),
        ("Offline", "offline"),
        ("some-vendor/some.model:nitro", "some-vendor/some.model:nitro"),
    ],
)
def test_name_means_a_model(name: str, model_id: str) -> None:
    """Symbolic names in any case, known ids in any case, and any other id of the form vendor/name as it is."""
    assert model_id == resolve(name)


@pytest.mark.parametrize("name", ["", "GPT_5O", "gpt-4o", "a/b/c", "a /b", "x/" + "y" * 200])
def test_name_of_no_model_is_refused(name: str) -> None:
    """What is neither known nor of the form vendor/name is a ValueError."""
    with pytest.raises(ValueError, match="vendor/name"):
        resolve(name)


def test_every_known_model_says_what_it_is() -> None:
    """Provider, use, a price and a length stand behind each, under one id and one name."""
    assert all(model.provider and model.description and model.context_length > 0 for model in KNOWN_MODELS)
    assert all(Catalogue(KNOWN_MODELS).price_of(model.id) is not None for model in KNOWN_MODELS)
    assert 11 == len({model.id for model in KNOWN_MODELS}) == len({model.aliases for model in KNOWN_MODELS})


def _listed(*, key_set: bool = True) -> tuple[ModelInfo, ...]:
    return listed_models(
        default_model="openai/gpt-4o-mini",
        fallback_models=("vendor/own", "offline"),
        language_codes=["en"],
        key_set=key_set,
    )


def test_models_are_listed_in_the_order_in_which_they_are_tried() -> None:
    """The default, the fallbacks with their places, then the known ones: each once, and none of the 300 others."""
    models = _listed()

    assert ["openai/gpt-4o-mini", "vendor/own", "offline"] == [model.id for model in models[:3]]
    assert [0, 1, 2] == [model.fallback_position for model in models[:3]]
    assert ["openai/gpt-4o-mini"] == [model.id for model in models if model.is_default]
    assert {"vendor/own", "offline", *(model.id for model in KNOWN_MODELS)} == {model.id for model in models}
    assert len(models) == len(KNOWN_MODELS) + 2


def test_without_a_key_the_embedded_writer_is_the_only_one_available() -> None:
    """It is the default then; the others are listed with what is missing."""
    models = Catalogue(_listed(key_set=False), key_set=False).page(100, "").models

    assert ["offline"] == [listed.info.id for listed in models if listed.facts.available]
    assert ["offline"] == [listed.info.id for listed in models if listed.info.is_default]
    assert all("OPENROUTER_API_KEY" in listed.facts.unavailable_reason for listed in models[1:])


def _by_id(catalogue: Catalogue, facts: dict[str, ModelFacts] | None = None) -> dict[str, ListedModel]:
    return {listed.info.id: listed for listed in catalogue.page(100, "", facts).models}


def test_what_the_provider_tells_takes_the_place_of_what_was_known() -> None:
    """Prices, name and length are the fresh ones; what it does not offer is not available; nothing else is listed."""
    catalogue = Catalogue(_listed())
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
    models = _by_id(catalogue)

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
    models = listed_models(default_model="vendor/own:nitro", fallback_models=(), language_codes=[], key_set=True)
    catalogue = Catalogue(models)
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

    assert _by_id(catalogue)["vendor/own:nitro"].facts.available
    assert ("own:nitro", 64_000) == (
        _by_id(catalogue)["vendor/own:nitro"].info.display_name,
        catalogue.find("vendor/own:nitro").context_length,
    )
    assert Price(3.0, 4.0) == catalogue.price_of("vendor/own:nitro")
    assert [Price(3.0, 4.0), Price(3.0, 4.0), Price(9.0, 12.0), Price(9.0, 12.0), None, None] == [
        catalogue.highest_price_of(f"vendor/own{variant}")
        for variant in ("", ":floor", ":nitro", ":exacto", ":online", ":unheard-of")
    ]


def test_way_of_routing_a_known_model_is_that_model() -> None:
    """Before anybody was asked: its lengths, its price, and whether it takes a prefill."""
    catalogue = Catalogue([])
    known, routed = catalogue.find("anthropic/claude-3.5-sonnet"), catalogue.find("anthropic/claude-3.5-sonnet:nitro")

    assert (known.context_length, known.accepts_prefill) == (routed.context_length, routed.accepts_prefill)
    assert ("anthropic/claude-3.5-sonnet:nitro", ()) == (routed.id, routed.aliases)
    assert None is catalogue.price_of("anthropic/claude-3.5-sonnet:free")


def test_older_list_is_marked_until_it_is_refreshed() -> None:
    """A refresh that failed leaves the list as it was and says so."""
    catalogue = Catalogue(_listed())
    before = catalogue.page(100, "")
    catalogue.refresh_failed()
    stale = catalogue.page(100, "")
    catalogue.refresh([])

    assert (False, True, False) == (before.stale, stale.stale, catalogue.page(100, "").stale)
    assert before.models == stale.models


def test_state_of_a_circuit_is_shown() -> None:
    """Facts that are passed in stand beside their model; a model without any is taken to be well."""
    facts = {"vendor/own": ModelFacts(available=False, unavailable_reason="Later.", circuit_state="open")}
    models = _by_id(Catalogue(_listed()), facts)

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
        ("offline", False),
    ],
)
def test_prefill_is_for_those_who_are_known_to_take_it(model: str, accepted: bool) -> None:
    """Everybody else goes on by instruction."""
    assert accepted is Catalogue(_listed()).accepts_prefill(model)
