"""The manifests for Kubernetes: valid, locked, and with settings that exist."""

from collections.abc import Iterator

import kubernetes_validate
import pytest
import yaml
from support.kubernetes import BASE, environment, pod, resources

from servicekit.settings import ServiceSettings, env_name
from standins.processes import MODULES
from tools.configuration_page import SERVICES

PORTS = {"gateway": 50051, "story": 50052, "voice": 50053, "storage": 50054}
CALLERS = {"story": {"gateway"}, "voice": {"gateway"}, "storage": {"gateway", "voice"}}
PRE_STOP_SECONDS = 5


def test_each_service_is_a_part_of_the_base() -> None:
    """And nothing else is."""
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    assert {f"{name}.yaml" for name in MODULES} == set(listed)


@pytest.mark.parametrize("name", MODULES)
def test_manifests_are_valid(name: str) -> None:
    """By the schemas of Kubernetes, without a field that they do not know."""
    for each in resources(name).values():
        kubernetes_validate.validate(each, "1.37", strict=True)


@pytest.mark.parametrize("name", MODULES)
def test_a_port_needs_the_secret_of_the_cluster(name: str) -> None:
    """It stands in a Secret, like every key, and in no manifest."""
    given = environment(name)
    assert "/run/tale/service-token" == given["SERVICE_TOKEN_FILE"]["value"]
    (secret,) = [each["secret"] for each in pod(name)["volumes"] if each["name"] == "secret"]
    assert {"key": "service-token", "path": "service-token"} in secret["items"]
    keys = [variable for variable in given if variable.endswith(("KEY", "KEY_ID", "SECRET"))]
    assert all("secretKeyRef" in given[variable]["valueFrom"] for variable in keys)


@pytest.mark.parametrize("name", MODULES)
def test_each_secret_of_a_service_can_stand_in_the_secret(name: str) -> None:
    """Optional, under the name of its variable; that of migrations is for no service."""
    secrets = {
        env_name(kind, field)
        for service, kind in SERVICES
        if service == MODULES[name]
        for field, info in kind.model_fields.items()
        if "SecretStr" in str(info.annotation)
    } - {"SERVICE_TOKEN", "SUPABASE_DB_URL"}
    given = environment(name)
    assert secrets <= given.keys()
    for variable in secrets:
        expected = {"name": "tale", "key": variable.lower().replace("_", "-"), "optional": True}
        assert expected == given[variable]["valueFrom"]["secretKeyRef"]


def test_the_config_map_sets_who_may_call() -> None:
    """A variable of the container would win over it; the ConfigMap that is named last counts."""
    (container,) = pod("gateway")["containers"]
    assert "GATEWAY_AUTH" not in {each["name"] for each in container["env"]}
    assert ["tale-defaults", "tale"] == [each["configMapRef"]["name"] for each in container["envFrom"]]
    assert {"GATEWAY_AUTH": "api_key"} == resources("gateway")["ConfigMap"]["data"]


@pytest.mark.parametrize("name", MODULES)
def test_only_callers_reach_a_pod(name: str) -> None:
    """The gateway alone is for everybody, and asks its callers who they are."""
    (rule,) = resources(name)["NetworkPolicy"]["spec"]["ingress"]
    assert [{"port": PORTS[name]}] == rule["ports"]
    peers = [each["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for each in rule.get("from", ())]
    assert CALLERS.get(name, set()) == set(peers)
    if name == "gateway":
        assert environment(name)["GATEWAY_AUTH"]["value"] != "none"


@pytest.mark.parametrize("name", MODULES)
def test_variables_are_settings_of_the_service(name: str) -> None:
    """Its own, and its ports are those of its container, its Service and its probes."""
    known = {
        env_name(kind, field) for service, kind in SERVICES if service == MODULES[name] for field in kind.model_fields
    }
    assert set(environment(name)) <= known
    (container,) = pod(name)["containers"]
    assert f"0.0.0.0:{PORTS[name]}" == environment(name)[f"{name.upper()}_LISTEN"]["value"]
    probed = {container[f"{each}Probe"]["grpc"]["port"] for each in ("startup", "readiness", "liveness")}
    (port,) = resources(name)["Service"]["spec"]["ports"]
    assert {PORTS[name]} == probed | {port["port"]} | {each["containerPort"] for each in container["ports"]}


@pytest.mark.parametrize("name", MODULES)
def test_a_pod_has_the_time_to_drain(name: str) -> None:
    """The notice before it and the drain fit into the grace."""
    spec = pod(name)
    (container,) = spec["containers"]
    notice = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = ServiceSettings.model_fields["drain_seconds"].default
    assert PRE_STOP_SECONDS == notice
    assert spec["terminationGracePeriodSeconds"] >= notice + drain + 10


@pytest.mark.parametrize("name", MODULES)
def test_a_container_has_no_rights(name: str) -> None:
    """As in compose: not root, nothing written but /tmp and the data."""
    spec = pod(name)
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert ["ALL"] == container["securityContext"]["capabilities"]["drop"]
    assert not spec["automountServiceAccountToken"]
    assert container["resources"]["limits"]["memory"]
    assert {"/tmp", "/run/tale"} | set(_data(name)) == {each["mountPath"] for each in container["volumeMounts"]}  # noqa: S108


def _data(name: str) -> Iterator[str]:
    if name == "storage":
        yield "/data"
