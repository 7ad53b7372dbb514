"""The catalogue and its pages."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from story_service.catalogue import Catalogue, ModelInfo, embedded_model


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
        seen += [model.id for model in page.models]
        token = page.next_token
        if not token:
            break

    assert token == ""
    assert [model.id for model in _models(count)] == seen


@pytest.mark.parametrize("token", ["x", "é", "!!!!", base64.urlsafe_b64encode(b"vendor/other").decode(), "/w=="])
def test_a_token_that_was_never_given_is_refused(token: str) -> None:
    """Junk, and tokens of models that are not there, are ValueErrors."""
    with pytest.raises(ValueError, match="not a page token"):
        Catalogue(_models(3)).page(2, token)


@pytest.mark.parametrize(("fallbacks", "position"), [((), 0), (("a/b", "offline"), 2), (("offline",), 1)])
def test_the_embedded_writer_tells_its_place(fallbacks: tuple[str, ...], position: int) -> None:
    """`fallback_position` counts from 1 in the configured order; 0 is not in it."""
    model = embedded_model(language_codes=["en"], fallback_models=fallbacks)

    assert (position, True, True) == (model.fallback_position, model.embedded, model.is_default)
