"""Reads what the processes count and log about themselves."""

import json
from collections import Counter
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

_LOUD: Final = {"warning", "error", "critical"}


async def call_codes(ops_address: str) -> Counter[str]:
    """Returns the number of calls of a server's services by "Method CODE".

    Health and reflection are left out.
    """
    async with aiohttp.ClientSession() as session, session.get(f"http://{ops_address}/metrics") as answer:
        answer.raise_for_status()
        text = await answer.text()
    counts: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "grpc_server_handled_total" and sample.labels["grpc_service"].startswith("tale."):
                counts[f"{sample.labels['grpc_method']} {sample.labels['grpc_code']}"] += round(sample.value)
    return counts


def loud_events(log: str) -> Counter[str]:
    """Returns the number of log lines at WARNING or above by event; a line that is no JSON counts as its own event."""
    counts: Counter[str] = Counter()
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            counts[line] += 1
            continue
        if entry.get("level") in _LOUD:
            counts[str(entry.get("event"))] += 1
    return counts
