"""Every setting of the gateway."""

from pydantic import Field

from servicekit.settings import Listen, ServiceSettings, variables


class GatewaySettings(ServiceSettings):
    """The settings of the gateway."""

    model_config = variables(
        "GATEWAY_", "lease_", "peer_", "pickup_", "provider_", "run_", "storage_", "story_", "voice_"
    )
    prefixes = ("GATEWAY_", "LEASE_", "PEER_", "PICKUP_", "PROVIDER_", "RUN_")
    elsewhere = frozenset({"GATEWAY_TARGET", "GATEWAY_PORT"})

    listen: Listen = "127.0.0.1:50051"
    """gRPC bind address"""
    ops_listen: Listen = "127.0.0.1:9051"
    """HTTP bind address for operators"""
    story_target: str = "dns:///127.0.0.1:50052"
    """Address of the story service"""
    voice_target: str = "dns:///127.0.0.1:50053"
    """Address of the voice service"""
    storage_target: str = "dns:///127.0.0.1:50054"
    """Address of the storage service"""
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
    peer_wait_seconds: float = Field(120.0, ge=0, le=3600)
    """Seconds for which a run waits for a story or voice service that cannot be reached"""
    provider_wait_seconds: float = Field(600.0, ge=0, le=86_400)
    """Seconds for which a story waits for a provider that is down or asked for a pause; 0: it fails at once"""

    def unguarded(self, *, guarded: bool) -> str | None:
        """Returns why the gateway must not listen beyond this machine, and the remedy; None if it may."""
        del guarded
        if self.allow_anonymous:
            return None
        return (
            "GATEWAY_LISTEN must be a loopback address while there is no authentication"
            " (or set GATEWAY_ALLOW_ANONYMOUS=1)"
        )
