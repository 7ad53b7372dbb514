"""What each of the four servers shows its operators."""

import json
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families
from support.house import house

from tale.common.v1 import status_pb2, status_pb2_grpc

REPORT = {
    *("healthy", "total_breakers", "healthy_breakers", "open_circuits", "open_circuits_count"),
    *("unreachable_services", "metrics"),
}
ASKED = {"grpc_service": "tale.common.v1.StatusService", "grpc_method": "GetStatus", "grpc_code": "OK"}


async def test_all_four_servers_have_metrics_and_circuits(tmp_path: Path) -> None:
    """RPCs, process and runtime in /metrics; a report of circuits, all of them closed, also where there is none."""
    async with house(tmp_path) as cluster:
        assert {"gateway", "story", "voice", "storage"} == set(cluster.servers)
        for service in cluster.servers.values():
            stub: Any = status_pb2_grpc.StatusServiceStub(service.channel)
            await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=10)
            async with ClientSession(f"http://{service.server.ops_address}") as http:
                text = await (await http.get("/metrics")).text()
                answer = await http.get("/metrics/circuit-breakers")
                report = json.loads(await answer.text())
            samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

            assert (200, "application/json") == (answer.status, answer.content_type)
            assert (REPORT, True, []) == (set(report), report["healthy"], report["open_circuits"])
            assert report["total_breakers"] == report["healthy_breakers"] == len(report["metrics"])
            assert {"process_resident_memory_bytes", "python_info"} <= {sample.name for sample in samples}
            assert any(
                sample.name == "grpc_server_handled_total" and sample.labels == ASKED and sample.value >= 1
                for sample in samples
            )
