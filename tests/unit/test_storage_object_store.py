"""AUDIO_STORE_URL and what belongs to it, and how answers of an object store are understood."""

from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError
from pydantic import SecretStr

from servicekit.resilience.errors import ProviderErrorKind
from servicekit.settings import ConfigurationError
from storage_service.bootstrap import build_app
from storage_service.object_store.config import BucketConfig, Place, places_of
from storage_service.object_store.errors import BucketMismatchError, MissingObjectError, to_provider_error
from storage_service.settings import StorageSettings

KEY: dict[str, Any] = {"aws_access_key_id": "AKID", "aws_secret_access_key": SecretStr("hush")}


def settings(url: str | None = "s3://tales/audio", **changes: Any) -> StorageSettings:
    """Settings with a place for audio and a key, but for the changes."""
    return StorageSettings(audio_store_url=url, **{**KEY, **changes})


def place_of(given: StorageSettings, environment: dict[str, str]) -> Place:
    """The place of the audio, the only one that is named."""
    ((variable, place),) = places_of(given, environment).items()
    assert variable == "AUDIO_STORE_URL"
    return place


def test_without_the_variables_bytes_are_where_the_backend_has_them() -> None:
    """No place of its own, no credentials asked for."""
    assert places_of(StorageSettings(), {}) == {}


def test_segments_may_have_a_place_of_their_own() -> None:
    """Named in the same way; errors name its variable."""
    places = places_of(StorageSettings(segment_store_url="file:///srv/segments"), {})
    assert places == {"SEGMENT_STORE_URL": Path("/srv/segments")}
    places = places_of(settings(segment_store_url="s3://segments"), {})
    assert [place.variable for place in places.values() if isinstance(place, BucketConfig)] == list(places)
    with pytest.raises(ConfigurationError, match="SEGMENT_STORE_URL must be file:///path"):
        places_of(StorageSettings(segment_store_url="segments"), {})


def test_a_folder_is_named_by_its_path() -> None:
    """Percent signs are read as in every URL."""
    assert Path("/srv/our tales") == place_of(settings("file:///srv/our%20tales"), {})


def test_a_bucket_is_encrypted_unless_told_otherwise() -> None:
    """AES256 by default, a key of KMS where one is named, nothing where the operator says so."""
    expected = BucketConfig("tales", prefix="audio", access_key_id="AKID", secret_access_key="hush")  # noqa: S106 - no secret
    assert expected == place_of(settings(), {})
    kms, plain = (
        place_of(settings(audio_store_kms_key_id="k-1"), {}),
        place_of(settings(audio_store_encryption="none"), {}),
    )
    assert isinstance(kms, BucketConfig)
    assert isinstance(plain, BucketConfig)
    assert ("", "k-1", None) == (expected.kms_key_id, kms.kms_key_id, plain.kms_key_id)


def test_endpoint_of_s3_goes_before_the_endpoint_of_all_services() -> None:
    """As in other programs that read these variables."""
    given = {"aws_endpoint_url": "https://a"}
    for changes, endpoint in (
        (given, "https://a"),
        ({**given, "aws_endpoint_url_s3": "http://[::1]:9"}, "http://[::1]:9"),
    ):
        place = place_of(settings(**changes), {})
        assert isinstance(place, BucketConfig)
        assert endpoint == place.endpoint


@pytest.mark.parametrize(
    ("changes", "environment"),
    [
        ({"audio_store_instance_role": True}, {}),
        ({}, {"AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}),
        ({}, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}),
    ],
)
def test_a_role_takes_the_place_of_a_key(changes: dict[str, Any], environment: dict[str, str]) -> None:
    """Of the machine where that is said, of the container or pod where the platform says it."""
    place = place_of(StorageSettings(audio_store_url="s3://tales", **changes), environment)
    assert isinstance(place, BucketConfig)
    assert "" == place.access_key_id


@pytest.mark.parametrize(
    ("url", "changes", "line"),
    [
        ("tales/audio", {}, "AUDIO_STORE_URL must be file:///path"),
        ("file://host/x", {}, "AUDIO_STORE_URL must be file:///path"),
        ("s3://", {}, "AUDIO_STORE_URL must be file:///path"),
        ("s3://tales?region=x", {}, "AUDIO_STORE_URL must be file:///path"),
        ("s3://key:hush@tales/x", {}, "AUDIO_STORE_URL must be file:///path"),
        ("s3://[tales", {}, "AUDIO_STORE_URL must be file:///path"),
        ("gs://tales/x", {}, "AUDIO_STORE_URL must be file:///path"),
        ("s3://tales", {"aws_access_key_id": None, "aws_secret_access_key": None}, "AWS_ACCESS_KEY_ID and AWS_SECRET_"),
        ("s3://tales", {"aws_secret_access_key": None}, "AWS_SECRET_ACCESS_KEY must be set"),
        ("s3://tales", {"aws_access_key_id": None}, "AWS_ACCESS_KEY_ID must be set"),
        ("s3://tales", {"aws_endpoint_url_s3": "http://minio:9000"}, "AWS_ENDPOINT_URL_S3 must be https"),
        ("s3://tales", {"aws_endpoint_url": "minio"}, "AWS_ENDPOINT_URL must be a URL"),
        (
            "s3://tales",
            {"audio_store_encryption": "none", "audio_store_kms_key_id": "k"},
            "AUDIO_STORE_ENCRYPTION must",
        ),
    ],
)
def test_what_is_missing_or_wrong_stops_the_start(
    url: str, changes: dict[str, Any], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line that names the variable and holds no secret."""
    for name in ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match=line) as caught:
        build_app(settings(url, **changes))
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


async def test_the_status_names_the_store_of_audio(tmp_path: Path) -> None:
    """Stories embedded, audio in S3: both are told, and the circuit can be reset."""
    app = build_app(settings(data_dir=tmp_path))
    told = await app.describe()
    assert (["store"], [("s3", True)]) == (
        [part.part for part in told.embedded_parts],
        [(provider.name, provider.available) for provider in told.providers],
    )
    assert app.circuits is not None


def answer(status: int, code: str) -> GenericError:
    """An answer as obstore tells of it."""
    return GenericError(f"Server returned non-2xx status code: {status} X: <Error><Code>{code}</Code></Error>")


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (answer(500, "InternalError"), ProviderErrorKind.OVERLOAD, True),
        (answer(503, "SlowDown"), ProviderErrorKind.RATE, True),
        (answer(429, "X"), ProviderErrorKind.RATE, True),
        (answer(504, "X"), ProviderErrorKind.TIMEOUT, True),
        (answer(400, "InvalidArgument"), ProviderErrorKind.INVALID_INPUT, False),
        (PermissionDeniedError("status code: 403"), ProviderErrorKind.AUTH, False),
        (PermissionDeniedError("no status"), ProviderErrorKind.AUTH, False),
        (answer(401, "X"), ProviderErrorKind.AUTH, False),
        (TimeoutError(), ProviderErrorKind.TIMEOUT, True),
        (GenericError("source: TimedOut"), ProviderErrorKind.TIMEOUT, True),
        (GenericError("error sending request"), ProviderErrorKind.TRANSPORT, True),
    ],
)
def test_failures_are_told_apart(error: Exception, kind: ProviderErrorKind, retryable: bool) -> None:
    """By status and code; nothing of the answer's text is told on."""
    told = to_provider_error(error)
    assert (kind, retryable) == (told.kind, told.retryable)
    assert "<" not in str(told)


@pytest.mark.parametrize("error", [FileNotFoundError("status code: 404"), answer(416, "InvalidRange")])
def test_what_is_not_there_is_an_answer(error: Exception) -> None:
    """It speaks neither against the store nor for another try."""
    told = to_provider_error(error)
    assert isinstance(told, MissingObjectError)
    assert (False, False) == (told.retryable, told.counts_for_breaker)


@pytest.mark.parametrize("code", ["NoSuchBucket", "PermanentRedirect", "NotImplemented"])
def test_what_only_an_operator_can_mend_says_so(code: str) -> None:
    """FAILED_PRECONDITION with the variable in the text."""
    told = to_provider_error(answer(404, code))
    assert isinstance(told, BucketMismatchError)
    assert "INVALID_CONFIGURATION" == told.treatment.reason
    assert "A" in told.message
