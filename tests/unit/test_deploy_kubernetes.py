"""The manifests for Kubernetes: built by kubectl, valid, locked, and with settings that exist."""

import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from support.kubernetes import (
    CUSTOM,
    OVERLAYS,
    ROOT,
    Manifest,
    build,
    container,
    environment,
    of_kind,
    overlay,
    pods,
    refused_by_custom_schemas,
)

from servicekit.settings import ServiceSettings, env_name
from standins.processes import MODULES
from tools.configuration_page import SERVICES

PORTS = {"gateway": 50051, "story": 50052, "voice": 50053, "storage": 50054}
CALLERS = {"story": {"gateway"}, "voice": {"gateway"}, "storage": {"gateway", "voice"}}
SERVICE = "app.kubernetes.io/name"
SETTINGS = {
    name: {env_name(kind, field): field_info for field, field_info in kind.model_fields.items()}
    for name, module in MODULES.items()
    for service, kind in SERVICES
    if service == module
}
RUNNING = [(each, name) for each in OVERLAYS for name in sorted(pods(overlay(each)))]
SERVING = [(each, name) for each, name in RUNNING if name in MODULES]


@pytest.mark.parametrize("name", OVERLAYS)
def test_manifests_are_valid(name: str) -> None:
    """By the schemas of Kubernetes, without a field that they do not know; each name once."""
    built = overlay(name)
    for each in built:
        if not each["apiVersion"].startswith(CUSTOM):
            kubernetes_validate.validate(each, "1.37", strict=True)
    names = [(each["kind"], each["metadata"]["name"]) for each in built]
    assert len(names) == len(set(names))
    assert MODULES.keys() <= pods(built).keys()


def test_every_kustomization_is_part_of_an_overlay() -> None:
    """A folder that nothing builds would be checked by nothing."""
    reached: set[Path] = set()

    def reach(folder: Path) -> None:
        reached.add(folder)
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        for each in kustomization.get("resources", []) + kustomization.get("components", []):
            if (folder / each).is_dir():
                reach((folder / each).resolve())

    reach(ROOT / "overlays" / "embedded")
    reach(ROOT / "example")
    assert {path.parent for path in ROOT.rglob("kustomization.yaml")} == reached


@pytest.mark.parametrize(("built", "name"), RUNNING)
def test_secrets_are_references(built: str, name: str) -> None:
    """A key stands in a Secret, under the name of its variable, and in no manifest."""
    assert not of_kind(overlay(built), "Secret")
    given = environment(name, overlay(built))
    for variable in given.keys() & secrets("storage" if name == "migrate" else name):
        reference = given[variable]["valueFrom"]["secretKeyRef"]
        assert variable.lower().replace("_", "-") == reference["key"]
    assert not [key for key, each in given.items() if "value" in each and key.endswith(("KEY", "SECRET", "TOKEN"))]


@pytest.mark.parametrize(("built", "name"), SERVING)
def test_each_secret_of_a_service_can_stand_in_the_secret(built: str, name: str) -> None:
    """That of migrations is for no service, and the secret of the cluster is a file."""
    given = environment(name, overlay(built))
    assert secrets(name) - {"SERVICE_TOKEN", "SUPABASE_DB_URL"} <= given.keys()
    assert "SUPABASE_DB_URL" not in given
    assert "/run/tale/service-token" == given["SERVICE_TOKEN_FILE"]["value"]
    (secret,) = [each["secret"] for each in spec(built, name)["volumes"] if each["name"] == "secret"]
    assert {"key": "service-token", "path": "service-token"} in secret["items"]


def test_the_config_map_sets_who_may_call() -> None:
    """A variable of the container would win over it; the ConfigMap that is named last counts."""
    gateway = container(overlay("embedded"), "gateway")
    assert "GATEWAY_AUTH" not in {each["name"] for each in gateway["env"]}
    assert ["tale-defaults", "tale"] == [each["configMapRef"]["name"] for each in gateway["envFrom"]]
    assert {"GATEWAY_AUTH": "api_key"} == of_kind(overlay("embedded"), "ConfigMap")["tale-defaults"]["data"]


@pytest.mark.parametrize(("built", "name"), SERVING)
def test_only_callers_reach_a_pod(built: str, name: str) -> None:
    """The gateway alone is for everybody, and asks its callers who they are."""
    rules = of_kind(overlay(built), "NetworkPolicy")[name]["spec"]["ingress"]
    (rule,) = [each for each in rules if {"port": PORTS[name]} in each["ports"]]
    peers = [each["podSelector"]["matchLabels"][SERVICE] for each in rule.get("from", ())]
    assert CALLERS.get(name, set()) == set(peers)
    if name == "gateway":
        assert environment(name)["GATEWAY_AUTH"]["value"] != "none"


@pytest.mark.parametrize(("built", "name"), SERVING)
def test_variables_are_settings_of_the_service(built: str, name: str) -> None:
    """Those of the ConfigMap are of any; its ports are those of its container, its Service and its probes."""
    given, found = environment(name, overlay(built)), container(overlay(built), name)
    assert {each["name"] for each in found["env"]} <= SETTINGS[name].keys()
    assert given.keys() <= set().union(*SETTINGS.values())
    assert f"0.0.0.0:{PORTS[name]}" == given[f"{name.upper()}_LISTEN"]["value"]
    probed = {found[f"{each}Probe"]["grpc"]["port"] for each in ("startup", "readiness", "liveness")}
    (port,) = [each for each in ports(of_kind(overlay(built), "Service")[name]) if each["name"] == "grpc"]
    assert {PORTS[name]} == probed | {port["port"]}
    assert PORTS[name] == {each["name"]: each["containerPort"] for each in found["ports"]}[port["targetPort"]]


@pytest.mark.parametrize("name", OVERLAYS)
def test_targets_are_headless_services(name: str) -> None:
    """A client that knows every replica spreads its calls; behind one address all would go to one."""
    services = of_kind(overlay(name), "Service")
    for service, target in ((each, f"{target.upper()}_TARGET") for each in MODULES for target in MODULES):
        if target not in environment(service, overlay(name)):
            continue
        scheme, _, address = environment(service, overlay(name))[target]["value"].partition(":///")
        host, _, port = address.partition(":")
        assert "dns" == scheme
        assert "None" == services[host]["spec"]["clusterIP"]
        assert int(port) == services[host]["spec"]["ports"][0]["port"]


@pytest.mark.parametrize(("built", "name"), SERVING)
def test_a_pod_has_the_time_to_drain(built: str, name: str) -> None:
    """The notice before it, the drain and the time to close fit into the grace."""
    notice = container(overlay(built), name)["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = ServiceSettings.model_fields["drain_seconds"].default
    assert notice >= 5
    assert spec(built, name)["terminationGracePeriodSeconds"] >= notice + drain + 10


@pytest.mark.parametrize(("built", "name"), RUNNING)
def test_a_pod_meets_the_restricted_standard(built: str, name: str) -> None:
    """That of Pod Security; and it writes nowhere but /tmp and the data, and has no token of the API."""
    found, each = spec(built, name), container(overlay(built), name)
    assert found["securityContext"]["runAsNonRoot"]
    assert "RuntimeDefault" == found["securityContext"]["seccompProfile"]["type"]
    assert not each["securityContext"]["allowPrivilegeEscalation"]
    assert ["ALL"] == each["securityContext"]["capabilities"]["drop"]
    assert all(volume.keys() & {"emptyDir", "secret"} for volume in found["volumes"])
    assert not found.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    assert each["securityContext"]["readOnlyRootFilesystem"]
    assert not found["automountServiceAccountToken"]
    data = {"/data"} if (built, name) == ("embedded", "storage") else set()
    secret = {"/run/tale"} if name in MODULES else set()
    assert {"/tmp"} | secret | data == {mount["mountPath"] for mount in each["volumeMounts"]}  # noqa: S108


@pytest.mark.parametrize(("built", "name"), RUNNING)
def test_a_pod_asks_for_what_it_needs(built: str, name: str) -> None:
    """Memory has a limit above the request; CPU has none, since a throttled service misses its deadlines."""
    resources = container(overlay(built), name)["resources"]
    assert {"cpu", "memory"} == resources["requests"].keys()
    assert {"memory"} == resources["limits"].keys()


@pytest.mark.parametrize("built", OVERLAYS)
def test_replicas_stand_apart_and_go_one_by_one(built: str) -> None:
    """On nodes and in zones of their own where there are some; a drained node takes one of each service."""
    manifests = overlay(built)
    for name, budget in of_kind(manifests, "PodDisruptionBudget").items():
        assert 1 == budget["spec"]["maxUnavailable"]
        workload = of_kind(manifests, "Deployment")[name]
        assert budget["spec"]["selector"] == workload["spec"]["selector"]
        scaled = of_kind(manifests, "HorizontalPodAutoscaler").get(name, workload)["spec"]
        assert 2 <= scaled.get("minReplicas", scaled.get("replicas"))
        spread = {each["topologyKey"] for each in spec(built, name)["topologySpreadConstraints"]}
        assert {"kubernetes.io/hostname", "topology.kubernetes.io/zone"} == spread
    assert of_kind(manifests, "PodDisruptionBudget").keys() == of_kind(manifests, "Deployment").keys()


def test_the_embedded_store_has_one_replica_and_a_volume() -> None:
    """A StatefulSet, which starts no second one beside it."""
    storage = of_kind(overlay("embedded"), "StatefulSet")["storage"]["spec"]
    assert 1 == storage["replicas"]
    assert ["data"] == [each["metadata"]["name"] for each in storage["volumeClaimTemplates"]]
    assert "/data" == environment("storage")["TALE_DATA_DIR"]["value"]


def test_storage_on_supabase_has_replicas_and_no_volume() -> None:
    """Its addresses are required; the schema is made by a Job, whose secret no service has."""
    built = overlay("supabase-s3")
    assert not of_kind(built, "StatefulSet")
    assert of_kind(built, "Deployment")["storage"]["spec"]["replicas"] >= 2
    given = environment("storage", built)
    assert "supabase" == given["STORAGE_BACKEND"]["value"]
    assert {"name": "tale", "key": "SUPABASE_URL"} == given["SUPABASE_URL"]["valueFrom"]["configMapKeyRef"]
    assert {"name": "tale", "key": "AUDIO_STORE_URL"} == given["AUDIO_STORE_URL"]["valueFrom"]["configMapKeyRef"]
    assert not given["SUPABASE_KEY"]["valueFrom"]["secretKeyRef"]["optional"]
    migrate = container(built, "migrate")
    assert ["python", "-m", "storage_service", "migrate"] == migrate["command"]
    assert container(built, "storage")["image"] == migrate["image"]
    assert "tale-migrate" == environment("migrate", built)["SUPABASE_DB_URL"]["valueFrom"]["secretKeyRef"]["name"]


def test_custom_resources_are_valid() -> None:
    """By the schemas of the Gateway API and of the Prometheus Operator, which refuse an unknown field."""
    monitor = yaml.safe_load((ROOT / "components" / "metrics" / "podmonitor.yaml").read_text())
    custom = [each for each in overlay("example") if each["apiVersion"].startswith(CUSTOM)]
    assert {"Gateway", "GRPCRoute", "HTTPRoute"} == {each["kind"] for each in custom}
    assert not refused_by_custom_schemas([*custom, monitor])
    wrong = {**monitor, "spec": {**monitor["spec"], "podMetricsEndpoints": "ops"}}
    assert "podMetricsEndpoints" in refused_by_custom_schemas([wrong])


def test_routes_lead_to_the_ports_of_the_gateway() -> None:
    """gRPC without TLS behind the listener, and the page."""
    built = overlay("example")
    (listeners,) = [each["spec"]["listeners"] for each in of_kind(built, "Gateway").values()]
    assert {"HTTPS"} == {each["protocol"] for each in listeners}
    served = {each["port"]: each["appProtocol"] for each in ports(of_kind(built, "Service")["gateway"])}
    routes = [each for each in built if each["kind"] in {"GRPCRoute", "HTTPRoute"}]
    for route, protocol in zip(routes, ("kubernetes.io/h2c", "http"), strict=True):
        assert {each["name"] for each in listeners} >= {each["sectionName"] for each in route["spec"]["parentRefs"]}
        (backend,) = [each for rule in route["spec"]["rules"] for each in rule["backendRefs"]]
        assert "gateway" == backend["name"]
        assert protocol == served[backend["port"]]


def test_autoscalers_have_a_workload_and_metrics_that_exist() -> None:
    """The rules of the adapter make each of them from a metric of docs/metrics.md."""
    built = overlay("example")
    adapter = yaml.safe_load((ROOT / "components" / "autoscaling" / "prometheus-adapter.yaml").read_text())["rules"]
    queries = " ".join(each["seriesQuery"] for each in adapter["custom"] + adapter["external"])
    documented = (ROOT.parents[1] / "docs" / "metrics.md").read_text()
    external = {each["name"]["as"] for each in adapter["external"]}
    for name, scaler in of_kind(built, "HorizontalPodAutoscaler").items():
        target = of_kind(built, scaler["spec"]["scaleTargetRef"]["kind"])[scaler["spec"]["scaleTargetRef"]["name"]]
        assert name == target["metadata"]["name"]
        assert "replicas" not in target["spec"]
        # One replica less at a time, not before the one before it has gone.
        (slowly,) = scaler["spec"]["behavior"]["scaleDown"]["policies"]
        assert slowly["periodSeconds"] > target["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for each in scaler["spec"]["metrics"]:
            if "pods" in each:
                assert each["pods"]["metric"]["name"] in queries
                assert f"`{each['pods']['metric']['name']}`" in documented
            elif "external" in each:
                assert each["external"]["metric"]["name"] in external
    assert MODULES.keys() == of_kind(built, "HorizontalPodAutoscaler").keys()


def test_prometheus_alone_reaches_the_operators_ports() -> None:
    """Those that the annotations name, from its namespace; without the component they listen in the pod alone."""
    built = overlay("example")
    (rule,) = of_kind(built, "NetworkPolicy")["metrics"]["spec"]["ingress"]
    (peer,) = rule["from"]
    assert {"kubernetes.io/metadata.name": "monitoring"} == peer["namespaceSelector"]["matchLabels"]
    (reached,) = rule["ports"]
    for name in MODULES:
        port = int(pods(built)[name]["metadata"]["annotations"]["prometheus.io/port"])
        assert reached["port"] <= port <= reached["endPort"]
        variable = f"{name.upper()}_OPS_LISTEN"
        assert f"0.0.0.0:{port}" == environment(name, built)[variable]["value"]
        assert f"127.0.0.1:{port}" == environment(name)[variable]["value"]
        assert port in {each["containerPort"] for each in container(built, name)["ports"]}


def test_a_changed_setting_makes_new_pods() -> None:
    """The ConfigMap of the example has a hash in its name, and every reference follows."""
    built = overlay("example")
    (name,) = of_kind(built, "ConfigMap").keys() - {"tale-defaults"}
    assert name.startswith("tale-")
    for service in MODULES:
        assert name in {each["configMapRef"]["name"] for each in container(built, service)["envFrom"]}
    assert {"tale"} == {each["metadata"]["namespace"] for each in built}


def test_the_embedded_store_takes_the_components(tmp_path: Path) -> None:
    """All but the autoscaler of storage; its StatefulSet is opened to Prometheus like the Deployments."""
    above = Path(os.path.relpath(ROOT, tmp_path.resolve()))
    components = [str(above / "components" / each) for each in ("metrics", "autoscaling", "gateway-api")]
    mine = {"resources": [str(above / "overlays" / "embedded")], "components": components}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(mine))
    built = build(tmp_path)
    assert {"gateway", "story", "voice"} == of_kind(built, "HorizontalPodAutoscaler").keys()
    assert 1 == of_kind(built, "StatefulSet")["storage"]["spec"]["replicas"]
    assert "0.0.0.0:9054" == environment("storage", built)["STORAGE_OPS_LISTEN"]["value"]


def secrets(name: str) -> set[str]:
    """The variables of a service that are secret."""
    return {variable for variable, info in SETTINGS[name].items() if "SecretStr" in str(info.annotation)}


def spec(built: str, name: str) -> Manifest:
    """What a workload of an overlay runs."""
    found: Manifest = pods(overlay(built))[name]["spec"]
    return found


def ports(service: Manifest) -> list[dict[str, Any]]:
    """The ports of a Service."""
    found: list[dict[str, Any]] = service["spec"]["ports"]
    return found
