"""Every knob of the gateway."""

from typing import Self

from pydantic import Field, model_validator

from servicekit.settings import Listen, ServiceSettings, is_loopback


class GatewaySettings(ServiceSettings):
    """What the gateway reads from the environment."""

    listen: Listen = Field("127.0.0.1:50051", validation_alias="GATEWAY_LISTEN", description="gRPC bind address")
    ops_listen: Listen = Field(
        "127.0.0.1:9051", validation_alias="GATEWAY_OPS_LISTEN", description="HTTP bind address for operators"
    )
    story_target: str = Field(
        "dns:///127.0.0.1:50052", validation_alias="STORY_TARGET", description="Where the story service is"
    )
    voice_target: str = Field(
        "dns:///127.0.0.1:50053", validation_alias="VOICE_TARGET", description="Where the voice service is"
    )
    storage_target: str = Field(
        "dns:///127.0.0.1:50054", validation_alias="STORAGE_TARGET", description="Where the storage service is"
    )
    allow_anonymous: bool = Field(
        False,
        validation_alias="GATEWAY_ALLOW_ANONYMOUS",
        description="Lets a gateway without authentication listen on an address that is not loopback",
    )
    lease_seconds: float = Field(
        30.0, ge=0.5, le=3600, validation_alias="LEASE_SECONDS", description="Seconds that a run holds its story"
    )
    pickup_interval_seconds: float = Field(
        5.0,
        ge=0.05,
        le=3600,
        validation_alias="PICKUP_INTERVAL_SECONDS",
        description="Seconds between looks for stories that nobody makes",
    )
    run_timeout_seconds: float = Field(
        2700.0, ge=1, le=86_400, validation_alias="RUN_TIMEOUT_SECONDS", description="Seconds that a story may take"
    )
    max_pickups: int = Field(
        5, ge=1, le=100, validation_alias="RUN_MAX_PICKUPS", description="Pick-ups without progress before a run ends"
    )
    max_runs: int = Field(
        256,
        ge=1,
        le=10_000,
        validation_alias="GATEWAY_MAX_RUNS",
        description="Stories that one gateway makes at a time; those beyond wait PENDING for it or for another replica",
    )
    sibling_wait_seconds: float = Field(
        120.0,
        ge=0,
        le=3600,
        validation_alias="SIBLING_WAIT_SECONDS",
        description="Seconds that a run waits for a story or voice service that can not be reached",
    )
    stream_idle_seconds: float = Field(
        120.0,
        ge=1,
        le=3600,
        validation_alias="STREAM_IDLE_SECONDS",
        description="Seconds of silence after which a stream of the story or voice service is given up",
    )
    heartbeat_seconds: float = Field(
        5.0, ge=0.05, le=60, validation_alias="WATCH_HEARTBEAT_SECONDS", description="Seconds between state events"
    )

    @model_validator(mode="after")
    def _closed_door(self) -> Self:
        if not is_loopback(self.listen) and not self.allow_anonymous:
            raise ValueError(
                "GATEWAY_LISTEN must be a loopback address while there is no authentication"
                " (or set GATEWAY_ALLOW_ANONYMOUS=1)"
            )
        return self
