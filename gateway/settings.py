"""Every setting of the gateway."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from servicekit.addresses import check_address, check_base_url, is_loopback, is_loopback_host
from servicekit.authentication import ServiceToken
from servicekit.secrets import SecretSource
from servicekit.settings import CommaList, Listen, ServiceSettings, StoreUrl, Target, env_name, variables

SYMMETRIC: Final = ("HS256",)
ASYMMETRIC: Final = ("ES256", "RS256")
_SECRET_ALGORITHMS: Final = frozenset({"HS256", "HS384", "HS512"})
_PUBLIC_ALGORITHMS: Final = frozenset({"ES256", "ES384", "ES512", "EdDSA", "PS256", "RS256", "RS384", "RS512"})
_SHORTEST_SECRET: Final = 32
_UNGUARDED: Final = (
    "{} must be a loopback address while there is no authentication: set GATEWAY_AUTH (or GATEWAY_ALLOW_ANONYMOUS=1)"
)


def _optional_address(value: str) -> str:
    return check_address(value) if value else ""


def _web_url(value: str) -> str:
    return check_base_url(value, allow_plain_http=True) if value else ""


class GatewaySettings(ServiceSettings):
    """The settings of the gateway."""

    model_config = variables(
        "GATEWAY_", "lease_", "peer_", "pickup_", "provider_", "run_", "storage_", "story_", "voice_"
    )
    prefixes = ("GATEWAY_", "SERVICE_", "LEASE_", "PEER_", "PICKUP_", "PROVIDER_", "RUN_")
    elsewhere = frozenset({"GATEWAY_TARGET", "GATEWAY_PORT", "GATEWAY_WEB_PORT"})

    listen: Listen = "127.0.0.1:50051"
    """gRPC bind address"""
    ops_listen: Listen = "127.0.0.1:9051"
    """HTTP bind address for operators"""
    web_listen: Annotated[str, AfterValidator(_optional_address)] = "127.0.0.1:8080"
    """HTTP bind address of the page, and of the RPCs over HTTP; set to nothing: off. Where the default address is in
    use, the gateway starts without it"""
    web_url: Annotated[str, AfterValidator(_web_url)] = ""
    """URL at which browsers and players reach that address, such as https://tales.example; unset: the address itself"""
    link_secret: SecretStr = SecretStr("")
    """Secret with which links to files and feeds are signed, the same for all gateways; unset: derived from
    SERVICE_TOKEN, without which links end with the process. Of several, separated by commas, the first signs and each
    is accepted"""
    link_secret_file: Path | None = None
    """File with that secret; it is made if there is none"""
    story_target: Target = "dns:///127.0.0.1:50052"
    """Address of the story service"""
    voice_target: Target = "dns:///127.0.0.1:50053"
    """Address of the voice service"""
    storage_target: Target = "dns:///127.0.0.1:50054"
    """Address of the storage service"""
    auth: Literal["none", "api_key", "jwt"] = "none"
    """Who may call: everyone that reaches the port, holders of API keys (`tale keys`), or of JSON Web Tokens"""
    api_keys_file: Path = Path("./data/api-keys.json")
    """File with the hashes of the API keys; it is read again when it changes"""
    jwt_secret: SecretStr = SecretStr("")
    """Secret with which tokens are signed (HS256), of 32 characters or more"""
    jwt_secret_file: Path | None = None
    """File with that secret"""
    jwt_jwks_url: str = ""
    """URL of the public keys with which tokens are checked (RFC 7517), in place of a secret; Supabase:
    https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json"""
    jwt_algorithms: CommaList = ()
    """Algorithms of signatures that are accepted; unset: ES256 and RS256 with GATEWAY_JWT_JWKS_URL, else HS256"""
    jwt_issuer: str = ""
    """Issuer of the tokens; unset: any that signs with the secret or key"""
    jwt_audience: str = "authenticated"
    """Audience that tokens must name; `authenticated` is that of Supabase"""
    tls_cert_file: Path | None = None
    """Certificate chain (PEM) of the gateway's port, read again when it changes; unset: no TLS"""
    tls_key_file: Path | None = None
    """Private key of that certificate (PEM)"""
    allow_anonymous: bool = False
    """The gateway has no authentication. 1 lets it listen on an address other than loopback all the same"""
    lease_seconds: float = Field(6.0, ge=0.5, le=3600)
    """Seconds for which a run holds the lease of its story; after that another gateway can claim the story"""
    pickup_interval_seconds: float = Field(2.0, ge=0.05, le=3600)
    """Seconds between polls for orphaned stories"""
    run_timeout_seconds: float = Field(14_400.0, ge=1, le=86_400)
    """Seconds that a story's runs may work, waiting not counted; after that it ends with the text and audio so far"""
    max_runs: int = Field(256, ge=1, le=10_000)
    """Maximum number of stories that one gateway makes at a time; others wait in state PENDING"""
    max_waiting: int = Field(10_000, ge=0, le=1_000_000)
    """Maximum number of stories of all callers that wait for a place; further ones are refused. 0: no limit"""
    requests_per_minute: int = Field(0, ge=0, le=1_000_000)
    """Maximum number of requests of one caller in a minute; 0: no limit"""
    stories_at_once: int = Field(0, ge=0, le=1_000_000)
    """Maximum number of unfinished stories of one caller; 0: no limit"""
    stories_per_day: int = Field(0, ge=0, le=1_000_000)
    """Maximum number of new stories of one caller a day (UTC); 0: no limit"""
    characters_per_day: int = Field(0, ge=0, le=1_000_000_000)
    """Maximum number of narrated characters of one caller a day (UTC); 0: no limit"""
    usd_per_day: float = Field(0.0, ge=0, le=1_000_000, allow_inf_nan=False)
    """Maximum cost in US dollars of the stories of one caller a day (UTC); 0: no limit"""
    usd_per_story_minute: float = Field(0.05, ge=0, le=1000, allow_inf_nan=False)
    """US dollars that count against GATEWAY_USD_PER_DAY for each minute of an unfinished story, until it has ended"""
    limit_store_url: StoreUrl = SecretStr("")
    """Redis or Valkey in which the gateways count requests together, such as redis://:password@host:6379/0; unset: each
    gateway counts its own"""
    peer_wait_seconds: float = Field(120.0, ge=0, le=3600)
    """Seconds for which a run waits for a story or voice service that cannot be reached"""
    provider_wait_seconds: float = Field(600.0, ge=0, le=86_400)
    """Seconds for which a story waits for a provider that is down or asked for a pause; 0: it fails at once"""

    @model_validator(mode="before")
    @classmethod
    def _switch_off(cls, given: Any) -> Any:
        """Takes an empty GATEWAY_WEB_LISTEN for what it says; elsewhere it would count as unset."""
        if isinstance(given, dict) and os.environ.get("GATEWAY_WEB_LISTEN") == "":
            return {"web_listen": "", **given}
        return given

    @model_validator(mode="after")
    def _check_authentication(self) -> Self:
        if self.auth == "jwt":
            self._check_tokens()
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("GATEWAY_TLS_CERT_FILE and GATEWAY_TLS_KEY_FILE must both be set, or none of them")
        # A secret that is too short is refused at the start.
        _ = self.link_token
        open_to_all = self.auth == "none" and not self.allow_anonymous
        if open_to_all and self.web_listen and not is_loopback(self.web_listen):
            raise ValueError(_UNGUARDED.format("GATEWAY_WEB_LISTEN"))
        return self

    @property
    def link_token(self) -> ServiceToken | None:
        """The secret of links; None where none is set."""
        if self.link_secret_file is None and not self.link_secret.get_secret_value().strip():
            return None
        return ServiceToken(self.link_secret, self.link_secret_file, name="GATEWAY_LINK_SECRET")

    def _check_tokens(self) -> None:
        secret = SecretSource(self.jwt_secret, self.jwt_secret_file, name="GATEWAY_JWT_SECRET").get()
        if bool(secret) == bool(self.jwt_jwks_url):
            raise ValueError("GATEWAY_AUTH=jwt needs GATEWAY_JWT_SECRET or GATEWAY_JWT_JWKS_URL, and not both")
        if secret and len(secret) < _SHORTEST_SECRET:
            raise ValueError(f"GATEWAY_JWT_SECRET must have at least {_SHORTEST_SECRET} characters")
        if self.jwt_jwks_url and not _is_safe(self.jwt_jwks_url):
            raise ValueError("GATEWAY_JWT_JWKS_URL must be an https URL, or http on this machine")
        # A public key must never be taken for the secret of an HMAC.
        known = _PUBLIC_ALGORITHMS if self.jwt_jwks_url else _SECRET_ALGORITHMS
        if wrong := [each for each in self.jwt_algorithms if each not in known]:
            raise ValueError(f"GATEWAY_JWT_ALGORITHMS must be of {', '.join(sorted(known))}, not {', '.join(wrong)}")
        if not self.jwt_audience:
            raise ValueError("GATEWAY_JWT_AUDIENCE must be set: a token for another program would be accepted")

    def contradictions(self) -> Iterator[str]:
        """Yields settings of authentication that are not in use, and intervals that delay a takeover."""
        for name, method in (("jwt_secret", "jwt"), ("jwt_secret_file", "jwt"), ("jwt_jwks_url", "jwt")):
            if self.auth != method and name in self.model_fields_set:
                variable = env_name(type(self), name)
                yield f"{variable} is set, and GATEWAY_AUTH is {self.auth}: it is not used. Set GATEWAY_AUTH={method}."
        if "api_keys_file" in self.model_fields_set and self.auth != "api_key":
            yield (
                f"GATEWAY_API_KEYS_FILE is set, and GATEWAY_AUTH is {self.auth}: no key is asked for."
                " Set GATEWAY_AUTH=api_key."
            )
        if self.pickup_interval_seconds > max(self.lease_seconds, 10):
            seconds = self.lease_seconds + self.pickup_interval_seconds
            yield (
                f"PICKUP_INTERVAL_SECONDS ({self.pickup_interval_seconds:g}) is longer than LEASE_SECONDS"
                f" ({self.lease_seconds:g}): a story whose gateway stopped stands still for up to {seconds:g} s."
            )

    def unguarded(self, *, guarded: bool) -> str | None:
        """Returns why the gateway must not listen beyond this machine, and the remedy; None if it may."""
        del guarded
        if self.auth != "none" or self.allow_anonymous:
            return None
        return _UNGUARDED.format("GATEWAY_LISTEN")


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(host)))
