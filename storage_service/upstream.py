"""How stores behind a network are called: circuit breakers, retries, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import OutgoingCalls
from servicekit.resilience.retry import RetryPolicy

if TYPE_CHECKING:
    from servicekit.resilience.audit import AuditLog
    from storage_service.object_store.config import BucketConfig
    from storage_service.supabase.config import SupabaseConfig


def breaker_config(name: str) -> BreakerConfig:
    """Returns the settings of a circuit breaker, whose name begins with its provider's."""
    return BreakerConfig(
        name=name,
        provider=name.partition(":")[0],
        failure_threshold=10,
        recovery_timeout=30.0,
        max_recovery_timeout=300.0,
    )


def outgoing_calls(
    provider: str,
    config: SupabaseConfig | BucketConfig,
    *,
    concurrency: int,
    breakers: BreakerManager | None,
    audit: AuditLog | None,
) -> OutgoingCalls:
    """Returns what makes the calls to a store, `concurrency` at once."""
    return OutgoingCalls(
        provider,
        breakers=breakers or BreakerManager(breaker_config),
        policy=RetryPolicy(retries=config.retries, delay=config.retry_delay, longest_wait=config.timeout_seconds),
        audit=audit,
        limits=ProviderLimits(concurrency, provider=provider),
    )
