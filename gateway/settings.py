"""Every setting of the gateway."""

from typing import Self

from pydantic import Field, model_validator

from servicekit.settings import Listen, ServiceSettings, is_loopback, variables


class GatewaySettings(ServiceSettings):
    """What the gateway reads from the environment."""

    model_config = variables(
        "GATEWAY_", "lease_", "pickup_", "run_", "sibling_", "storage_", "story_", "stream_", "voice_"
    )

    listen: Listen = "127.0.0.1:50051"
    """gRPC bind address"""
    ops_listen: Listen = "127.0.0.1:9051"
    """HTTP bind address for operators"""
    story_target: str = "dns:///127.0.0.1:50052"
    """Where the story service is"""
    voice_target: str = "dns:///127.0.0.1:50053"
    """Where the voice service is"""
    storage_target: str = "dns:///127.0.0.1:50054"
    """Where the storage service is"""
    allow_anonymous: bool = False
    """Lets a gateway without authentication listen on an address that is not loopback"""
    lease_seconds: float = Field(30.0, ge=0.5, le=3600)
    """Seconds that a run holds its story"""
    pickup_interval_seconds: float = Field(5.0, ge=0.05, le=3600)
    """Seconds between looks for stories that nobody makes"""
    run_timeout_seconds: float = Field(2700.0, ge=1, le=86_400)
    """Seconds that a story may take"""
    max_pickups: int = Field(5, ge=1, le=100, validation_alias="RUN_MAX_PICKUPS")
    """Pick-ups without progress before a run ends"""
    max_runs: int = Field(256, ge=1, le=10_000)
    """Stories that one gateway makes at a time; those beyond wait PENDING for it or for another replica"""
    sibling_wait_seconds: float = Field(120.0, ge=0, le=3600)
    """Seconds that a run waits for a story or voice service that can not be reached"""
    stream_idle_seconds: float = Field(120.0, ge=1, le=3600)
    """Seconds of silence after which a stream of the story or voice service is given up"""
    heartbeat_seconds: float = Field(5.0, ge=0.05, le=60, validation_alias="WATCH_HEARTBEAT_SECONDS")
    """Seconds between state events"""

    @model_validator(mode="after")
    def _closed_door(self) -> Self:
        if not is_loopback(self.listen) and not self.allow_anonymous:
            raise ValueError(
                "GATEWAY_LISTEN must be a loopback address while there is no authentication"
                " (or set GATEWAY_ALLOW_ANONYMOUS=1)"
            )
        return self
