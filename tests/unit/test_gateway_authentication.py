"""Who may call the gateway: API keys and JSON Web Tokens."""

import asyncio
import base64
import errno
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import jwt
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pydantic import SecretStr

from gateway.door.authentication import ApiKeys, KeySet, Tokens, authenticator_for
from gateway.door.keys import KeyFile, KeyFileError
from gateway.keys import main
from gateway.settings import GatewaySettings
from servicekit.context import Caller
from servicekit.errors import DomainError
from servicekit.secrets import SecretSource
from servicekit.settings import ConfigurationError, load

METHOD = "/tale.gateway.v1.GatewayService/GetStory"
SIGNING = "a-secret-of-thirty-two-characters-or-more"
PRIVATE, STRANGE = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
CHILD = "0198c7a0-0000-7000-8000-000000000001"


def bearer(token: str) -> Sequence[tuple[str, str | bytes]]:
    """Metadata with a token."""
    return [("authorization", f"Bearer {token}")]


def claims(**changes: Any) -> dict[str, Any]:
    """Claims as Supabase makes them, less those that are None."""
    made = {
        "sub": "mia",
        "aud": "authenticated",
        "exp": time.time() + 86_400,
        "iss": "https://id.example/auth/v1",
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def symmetric(**changes: Any) -> Tokens:
    """Tokens signed with SIGNING."""
    source = SecretSource(SecretStr(SIGNING), name="GATEWAY_JWT_SECRET")
    return Tokens(**{"algorithms": ["HS256"], "audience": "authenticated", "secret": source, **changes})


@asynccontextmanager
async def identity_provider(pieces: Callable[[], Iterable[bytes]], status: int = 200) -> AsyncIterator[str]:
    """The URL of keys that are sent in pieces."""

    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        if status in range(300, 400):
            response.headers["Location"] = str(request.url.with_query("again=1"))
        if "again" in request.query:
            response.set_status(200)
        await response.prepare(request)
        for piece in pieces():
            await response.write(piece)
        return response

    app = web.Application()
    app.router.add_get("/jwks", serve)
    async with TestServer(app) as server:
        yield str(server.make_url("/jwks"))


def unsigned(header: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
    """A token without a signature, as an attacker writes it."""
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload))
    return ".".join([*parts, ""])


async def refusal(authenticator: Any, metadata: Any) -> str:
    """The reason of the refusal; no text of it contains what was sent."""
    with pytest.raises(DomainError) as caught:
        await authenticator.authenticate(METHOD, metadata)
    assert not any(str(value)[7:] in caught.value.message for _, value in metadata if len(str(value)) > 20)
    return caught.value.reason


@pytest.mark.parametrize(
    ("said", "caller"),
    [
        ({}, Caller("mia", operator=False)),
        ({"tale_role": "operator"}, Caller("mia", operator=True)),
        ({"app_metadata": {"tale_role": "operator"}}, Caller("mia", operator=True)),
        ({"user_metadata": {"tale_role": "operator"}}, Caller("mia", operator=False)),
        ({"role": "operator"}, Caller("mia", operator=False)),
        ({"tale_children": [CHILD]}, Caller("mia", operator=False, children=frozenset({CHILD}))),
        ({"app_metadata": {"tale_children": []}}, Caller("mia", operator=False, children=frozenset())),
        ({"tale_children": [""]}, Caller("mia", operator=False, children=frozenset())),
    ],
)
async def test_a_token_names_owner_role_and_children(said: dict[str, Any], caller: Caller) -> None:
    """What users of Supabase can write themselves (user_metadata) makes no operator."""
    token = jwt.encode(claims(**said), SIGNING, "HS256")
    assert caller == await symmetric().authenticate(METHOD, bearer(token))


async def test_clocks_may_differ_by_some_seconds() -> None:
    """A token that has just expired by this clock is good."""
    token = jwt.encode(claims(exp=time.time() - 1), SIGNING, "HS256")
    assert "mia" == (await symmetric().authenticate(METHOD, bearer(token))).owner


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(jwt.encode(claims(exp=time.time() - 60), SIGNING, "HS256"), id="expired"),
        pytest.param(jwt.encode(claims(exp=None), SIGNING, "HS256"), id="no expiry"),
        pytest.param(jwt.encode(claims(nbf=time.time() + 86_400), SIGNING, "HS256"), id="not yet valid"),
        pytest.param(jwt.encode(claims(aud="another"), SIGNING, "HS256"), id="other audience"),
        pytest.param(jwt.encode(claims(aud=None), SIGNING, "HS256"), id="no audience"),
        pytest.param(jwt.encode(claims(iss="https://other.example"), SIGNING, "HS256"), id="other issuer"),
        pytest.param(jwt.encode(claims(iss=None), SIGNING, "HS256"), id="no issuer"),
        pytest.param(jwt.encode(claims(sub=None), SIGNING, "HS256"), id="no subject"),
        pytest.param(jwt.encode(claims(sub="../mia"), SIGNING, "HS256"), id="impossible subject"),
        pytest.param(jwt.encode(claims(tale_children="all"), SIGNING, "HS256"), id="no list of children"),
        pytest.param(jwt.encode(claims(), SIGNING + "!", "HS256"), id="other key"),
        pytest.param(jwt.encode(claims(), SIGNING * 2, "HS512"), id="other algorithm"),
        pytest.param(jwt.encode(claims(), PRIVATE, "ES256"), id="public-key algorithm"),
        pytest.param(unsigned({"alg": "none"}, claims()), id="alg none"),
        pytest.param(unsigned({"alg": "HS256"}, claims()), id="unsigned"),
        pytest.param("not.a.token", id="no token"),
        pytest.param("x" * 5_000, id="long"),
        pytest.param(f"{base64.urlsafe_b64encode(b'[' * 9_000).decode()}.e30.e30", id="deeply nested"),
    ],
)
async def test_a_token_that_is_not_for_this_gateway_is_refused(token: str) -> None:
    """Whatever is wrong with it."""
    assert "TOKEN_INVALID" == await refusal(symmetric(issuer="https://id.example/auth/v1"), bearer(token))


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Basic bWlhOnNlY3JldA==")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
        [("x-tale-owner", "mia")],
    ],
)
async def test_a_call_without_one_token_is_refused(metadata: Any, tmp_path: Path) -> None:
    """Two tokens are none: which of them counts must not depend on who reads them."""
    for authenticator in (symmetric(), ApiKeys(KeyFile(tmp_path / "keys.json"))):
        assert "TOKEN_MISSING" == await refusal(authenticator, metadata)


class Provider:
    """An identity provider with a key, which counts how often its keys are read."""

    def __init__(self) -> None:
        self.reads = 0
        self.down = False
        self.ids = ["first"]

    async def fetch(self, url: str) -> Mapping[str, Any]:
        """Its keys."""
        self.reads += 1
        if self.down:
            raise TimeoutError(url)
        public: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(PRIVATE.public_key()))
        return {"keys": [{**public, "kid": each, "alg": "ES256", "use": "sig"} for each in self.ids]}


async def test_public_keys_are_read_again_but_not_for_everyone() -> None:
    """A new key is found within thirty seconds; made-up key ids cause no reads; an outage ends no session."""
    provider, now = Provider(), [1000.0]
    keys = KeySet("https://id.example/jwks", fetch=provider.fetch, clock=lambda: now[0])
    tokens = Tokens(algorithms=["ES256"], audience="authenticated", keys=keys)
    good, later = (jwt.encode(claims(), PRIVATE, "ES256", {"kid": each}) for each in ("first", "second"))
    forged = jwt.encode(claims(), STRANGE, "ES256", {"kid": "first"})
    # The public key, which everybody has, as the secret of an HMAC.
    message = unsigned({"alg": "HS256", "kid": "first"}, claims())[:-1]
    mac = hmac.digest(ECAlgorithm.to_jwk(PRIVATE.public_key()).encode(), message.encode(), "sha256")
    confused = f"{message}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    for _ in range(20):
        assert "mia" == (await tokens.authenticate(METHOD, bearer(good))).owner
        for token in (forged, confused, later):
            assert "TOKEN_INVALID" == await refusal(tokens, bearer(token))
    assert 1 == provider.reads
    provider.ids.append("second")
    now[0] += 31
    assert "mia" == (await tokens.authenticate(METHOD, bearer(later))).owner
    provider.down = True
    now[0] += 3600
    for _ in range(2):
        assert "mia" == (await tokens.authenticate(METHOD, bearer(good))).owner
        await asyncio.sleep(0)
    assert 3 == provider.reads


async def test_keys_that_were_never_read_are_an_outage_not_a_refusal() -> None:
    """The caller's token may be good: it can try again."""
    provider = Provider()
    provider.down = True
    tokens = Tokens(algorithms=["ES256"], audience="authenticated", keys=KeySet("https://id", fetch=provider.fetch))
    token = jwt.encode(claims(), PRIVATE, "ES256", {"kid": "first"})
    assert "UPSTREAM_UNAVAILABLE" == await refusal(tokens, bearer(token))


async def test_keys_without_ids_leave_the_last_good_ones() -> None:
    """A provider that answers with keys that no token can name ends no session."""
    provider, now = Provider(), [1000.0]
    keys = KeySet("https://id", fetch=provider.fetch, clock=lambda: now[0])
    assert await keys.key("first")
    provider.ids[:] = [""]
    now[0] += 3600
    for _ in range(3):
        assert await keys.key("first")
        await asyncio.sleep(0)
    assert 2 == provider.reads


class Stalled(Provider):
    """One that answers when it is let to."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()

    async def fetch(self, url: str) -> Mapping[str, Any]:
        """Its keys, later."""
        found = await super().fetch(url)
        await self.free.wait()
        return found


async def test_a_provider_that_stalls_holds_up_only_callers_with_unknown_keys() -> None:
    """Those whose key is known do not wait, and one that leaves does not end the read for the others."""
    provider, now = Stalled(), [1000.0]
    keys = KeySet("https://id.example/jwks", fetch=provider.fetch, clock=lambda: now[0])
    tokens = Tokens(algorithms=["ES256"], audience="authenticated", keys=keys)
    good, later = (jwt.encode(claims(), PRIVATE, "ES256", {"kid": each}) for each in ("first", "second"))

    leaving, staying = (asyncio.create_task(tokens.authenticate(METHOD, bearer(good))) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    provider.free.set()
    assert "mia" == (await staying).owner
    provider.free.clear()
    now[0] += 3600
    unknown = asyncio.create_task(tokens.authenticate(METHOD, bearer(later)))
    await asyncio.sleep(0)
    assert "mia" == (await tokens.authenticate(METHOD, bearer(good))).owner
    assert not unknown.done()
    provider.free.set()
    with pytest.raises(DomainError, match="TOKEN_INVALID"):
        await unknown
    assert 2 == provider.reads


async def test_a_read_that_failed_is_repeated_soon() -> None:
    """A gateway that starts before its provider serves a little later than it."""
    provider, now = Provider(), [1000.0]
    provider.down = True
    keys = KeySet("https://id", fetch=provider.fetch, clock=lambda: now[0])
    tokens = Tokens(algorithms=["ES256"], audience="authenticated", keys=keys)
    token = jwt.encode(claims(), PRIVATE, "ES256", {"kid": "first"})
    for _ in range(9):
        assert "UPSTREAM_UNAVAILABLE" == await refusal(tokens, bearer(token))
    assert 1 == provider.reads
    provider.down = False
    now[0] += 3
    assert "mia" == (await tokens.authenticate(METHOD, bearer(token))).owner


def served(keys: Sequence[Mapping[str, Any]]) -> bytes:
    """A document of keys, as it is served."""
    return json.dumps({"keys": list(keys)}).encode()


RSA_KEY = rsa.generate_private_key(65_537, 2048)
RSA_PUBLIC: Mapping[str, Any] = json.loads(RSAAlgorithm.to_jwk(RSA_KEY.public_key()))
OCT: Mapping[str, Any] = {"kty": "oct", "kid": "oct", "k": base64.urlsafe_b64encode(SIGNING.encode()).decode()}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"[" * 100_000, 200, id="deeply nested"),
        pytest.param(b"[1]", 200, id="a list"),
        pytest.param(b'{"keys": []}', 200, id="no keys"),
        pytest.param(served([RSA_PUBLIC]), 200, id="no key id"),
        pytest.param(b'{"keys": [{"kty": 1, "kid": []}]}', 200, id="no text"),
        pytest.param(b" " * (1 << 20) + served([RSA_PUBLIC]), 200, id="more than a megabyte"),
        pytest.param(served([RSA_PUBLIC]), 500, id="an error"),
        pytest.param(served([RSA_PUBLIC]), 302, id="a redirect"),
    ],
)
async def test_an_answer_that_is_no_set_of_keys_is_an_outage(body: bytes, status: int) -> None:
    """Whatever it is; nothing of it is taken."""
    async with identity_provider(lambda: [body], status) as url:
        tokens = Tokens(algorithms=["RS256"], audience="authenticated", keys=KeySet(url))
        token = jwt.encode(claims(), RSA_KEY, "RS256", {"kid": "rsa"})
        assert "UPSTREAM_UNAVAILABLE" == await refusal(tokens, bearer(token))


async def test_endless_keys_are_read_up_to_a_megabyte() -> None:
    """The connection is closed then."""
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        while sent < 100 << 20:
            sent += 1 << 16
            yield b" " * (1 << 16)

    async with identity_provider(pieces) as url:
        tokens = Tokens(algorithms=["RS256"], audience="authenticated", keys=KeySet(url))
        token = jwt.encode(claims(), RSA_KEY, "RS256", {"kid": "rsa"})
        assert "UPSTREAM_UNAVAILABLE" == await refusal(tokens, bearer(token))
    assert sent < 32 << 20


async def test_keys_that_come_in_pieces_are_read_whole_and_used_for_their_algorithm() -> None:
    """A public key is no secret of an HMAC, a secret that was published none at all, and no key id is a path."""
    body = served([{**RSA_PUBLIC, "kid": "rsa", "use": "sig"}, OCT])
    async with identity_provider(lambda: [body[:99], body[99:]]) as url:
        tokens = Tokens(algorithms=["ES256", "RS256"], audience="authenticated", keys=KeySet(url))
        good = jwt.encode(claims(), RSA_KEY, "RS256", {"kid": "rsa"})
        assert "mia" == (await tokens.authenticate(METHOD, bearer(good))).owner
        pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for secret in (pem, pem.strip(), served([RSA_PUBLIC]), SIGNING.encode(), b""):
            for header in (
                {"alg": "HS256", "kid": "rsa"},
                {"alg": "RS256", "kid": "rsa"},
                {"alg": "RS256", "kid": "oct"},
                {"alg": "HS256", "kid": "oct"},
                {"alg": "HS256", "kid": "../../dev/null"},
                {"alg": "HS256", "kid": "' or 1=1 --"},
                {"alg": "HS256", "kid": ["rsa"]},
                {"alg": "RS256", "jwk": RSA_PUBLIC},
                {"alg": "RS256", "jku": url, "kid": "rsa"},
            ):
                message = unsigned(header, claims())[:-1]
                mac = base64.urlsafe_b64encode(hmac.digest(secret, message.encode(), "sha256")).rstrip(b"=")
                assert "TOKEN_INVALID" == await refusal(tokens, bearer(f"{message}.{mac.decode()}"))


async def test_a_key_is_good_until_it_is_revoked_or_expires(tmp_path: Path) -> None:
    """Another process makes and revokes it; the file has no key that could be used, and is for its owner alone."""
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    path = tmp_path / "deep" / "keys.json"
    here, there = KeyFile(path, clock=lambda: now[0]), KeyFile(path)
    first, made = there.create("mia", role="operator", children=(CHILD,))
    brief, _ = there.create("mia", expire_time=now[0] + timedelta(days=1))
    authenticator = ApiKeys(here)

    assert Caller("mia", operator=True, children=frozenset({CHILD})) == await authenticator.authenticate(
        METHOD, bearer(first)
    )
    assert Caller("mia", operator=False) == await authenticator.authenticate(METHOD, bearer(brief))
    assert not any(secret.rpartition("_")[2] in path.read_text() for secret in (first, brief))
    assert 0o600 == path.stat().st_mode & 0o777
    now[0] += timedelta(days=1)
    assert "TOKEN_INVALID" == await refusal(authenticator, bearer(brief))
    assert "mia" == there.revoke(made.id).owner
    for token in (first, f"{first}x", first[:-1], "tale__", f"tale_{made.id}_", "x"):
        assert "TOKEN_INVALID" == await refusal(authenticator, bearer(token))
    with pytest.raises(KeyFileError, match="no key with that id"):
        there.revoke(made.id)
    with pytest.raises(KeyFileError, match="cannot be an owner"):
        there.create("a b")


def test_keys_that_are_made_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    """Each process changes what the others have stored."""
    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(8) as pool:
        made = {key.id for _, key in pool.map(lambda number: KeyFile(path).create(f"owner-{number}"), range(24))}
    assert made == {key.id for key in KeyFile(path).list()}


def test_a_damaged_file_refuses_no_one_whose_key_was_good(tmp_path: Path) -> None:
    """It is named where keys are listed; while the gateway runs the last good keys stay."""
    path = tmp_path / "keys.json"
    keys = KeyFile(path)
    key, _ = keys.create("mia")
    assert keys.find(key)
    for damage in ("{", '{"keys": [{"id": 1}]}', '{"keys": [{"id": "a", "digest": "b", "owner": "a b"}]}'):
        path.write_text(damage)
        assert keys.find(key)
        with pytest.raises(KeyFileError, match=r"keys\.json is not a file of API keys"):
            KeyFile(path).list()
    path.unlink()
    assert keys.find(key) is None


def test_a_file_is_read_once_as_it_is_and_not_for_each_call(tmp_path: Path) -> None:
    """Half a file, one that is closed to the gateway, and then the whole one: read and logged once each."""
    path = tmp_path / "keys.json"
    keys, other = KeyFile(path), KeyFile(path)
    key, made = keys.create("mia")
    whole = path.read_bytes()
    assert keys.find(key)
    with structlog.testing.capture_logs() as lines:
        for content in (whole[:-9], whole[:9], b"", whole):
            path.write_bytes(content)
            assert all(keys.find(key) for _ in range(50))
        path.unlink()
        path.mkdir()
        assert all(keys.find(key) for _ in range(50))
    assert 4 == len(lines)
    assert not any(secret in str(line) for line in lines for secret in (key, made.digest))
    path.rmdir()
    path.write_bytes(whole)
    other.revoke(made.id)
    assert keys.find(key) is None


def test_a_read_that_failed_for_a_moment_leaves_no_revoked_key_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read again though it has not changed since; the failure is logged once."""
    path = tmp_path / "keys.json"
    keys = KeyFile(path)
    key, made = keys.create("mia")
    assert keys.find(key)
    KeyFile(path).revoke(made.id)
    with monkeypatch.context() as moment, structlog.testing.capture_logs() as lines:
        moment.setattr(Path, "read_bytes", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
        assert keys.find(key)
        assert keys.find(key)
    assert 1 == len(lines)
    assert keys.find(key) is None


def test_keys_without_times_are_read_as_they_were_written_earlier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty time is none: the key is valid without end, and listed."""
    path = tmp_path / "keys.json"
    key, _ = KeyFile(path).create("mia")
    content = json.loads(path.read_text())
    content["keys"][0] |= {"create_time": "", "expire_time": ""}
    path.write_text(json.dumps(content))
    assert KeyFile(path).find(key)
    assert 0 == main(["--file", str(path), "list"])
    assert ["unknown", "never"] == capsys.readouterr().out.splitlines()[1].split()[-2:]


@pytest.mark.parametrize(
    "change",
    [
        {"expire_time": "2030-01-01"},
        {"children": [""]},
        {"children": "all"},
        {"role": "root"},
        {"digest": "ü" * 64},
        {"scopes": ["read"]},
    ],
)
def test_an_entry_that_is_not_understood_lets_no_one_in(tmp_path: Path, change: Mapping[str, Any]) -> None:
    """A time without a zone, a child without an id, a field of a later version: the file is not taken."""
    path = tmp_path / "keys.json"
    key, _ = KeyFile(path).create("mia")
    content = json.loads(path.read_text())
    content["keys"][0] |= change
    path.write_text(json.dumps(content))
    assert KeyFile(path).find(key) is None


@pytest.mark.parametrize("given", [["--child", ""], ["--child", "mia"], ["--days", "0"], ["--days", "99999999"]])
def test_a_key_that_could_not_be_meant_is_not_made(tmp_path: Path, given: Sequence[str]) -> None:
    """Such as one for the child of a variable that is not set."""
    path = tmp_path / "keys.json"
    with suppress(SystemExit):
        assert 1 == main(["--file", str(path), "create", "mia", *given])
    assert not path.exists()


@pytest.mark.parametrize(
    ("variables", "refused"),
    [
        ({"GATEWAY_AUTH": "basic"}, "GATEWAY_AUTH must be 'none', 'api_key' or 'jwt'"),
        ({"GATEWAY_AUTH": "jwt"}, "needs GATEWAY_JWT_SECRET or GATEWAY_JWT_JWKS_URL"),
        ({"GATEWAY_AUTH": "jwt", "GATEWAY_JWT_SECRET": "short"}, "at least 32 characters"),
        (
            {"GATEWAY_AUTH": "jwt", "GATEWAY_JWT_SECRET": SIGNING, "GATEWAY_JWT_JWKS_URL": "https://id.example/k"},
            "and not both",
        ),
        ({"GATEWAY_AUTH": "jwt", "GATEWAY_JWT_JWKS_URL": "http://id.example/k"}, "must be an https URL"),
        (
            {"GATEWAY_AUTH": "jwt", "GATEWAY_JWT_JWKS_URL": "https://id.example/k", "GATEWAY_JWT_ALGORITHMS": "HS256"},
            "not HS256",
        ),
        (
            {"GATEWAY_AUTH": "jwt", "GATEWAY_JWT_SECRET": SIGNING, "GATEWAY_JWT_ALGORITHMS": "HS256,none"},
            "not none",
        ),
        ({"GATEWAY_TLS_CERT_FILE": "/c.pem"}, "must both be set"),
        ({"GATEWAY_AUTH": "jwt", "GATEWAY_JWT_SECRET": SIGNING, "GATEWAY_LISTEN": "0.0.0.0:50051"}, ""),
        ({"GATEWAY_AUTH": "api_key", "GATEWAY_LISTEN": "0.0.0.0:50051"}, ""),
        ({"GATEWAY_AUTH": "none", "GATEWAY_LISTEN": "0.0.0.0:50051"}, "set GATEWAY_AUTH"),
    ],
)
def test_settings_that_would_let_others_in_stop_the_start(
    variables: dict[str, str], refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each names the variable; no secret is in the text."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if not refused:
        assert authenticator_for(load(GatewaySettings))
        return
    with pytest.raises(ConfigurationError, match=refused) as caught:
        load(GatewaySettings)
    assert SIGNING not in str(caught.value)
