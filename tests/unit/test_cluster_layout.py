"""The addresses of a local cluster."""

import pytest

from tale_cluster.layout import GATEWAY, SERVICES, STORY, Layout


def test_layout_defaults_are_those_of_the_services() -> None:
    """Without any setting: loopback, 50051 to 50054 and 9051 to 9054."""
    layout = Layout.from_environment({})
    assert [f"127.0.0.1:{port}" for port in (50051, 50052, 50053, 50054)] == [
        layout[service].listen for service in SERVICES
    ]
    assert [f"127.0.0.1:{port}" for port in (9051, 9052, 9053, 9054)] == [
        layout[service].ops_listen for service in SERVICES
    ]


def test_targets_follow_the_listen_addresses() -> None:
    """A service that listens elsewhere is found by the others; a given target stays."""
    environ = {"STORY_LISTEN": "127.0.0.1:7000", "VOICE_TARGET": "dns:///voices:1"}
    made = Layout.from_environment(environ).environment(environ)
    assert "dns:///127.0.0.1:7000" == made["STORY_TARGET"]
    assert "dns:///voices:1" == made["VOICE_TARGET"]
    assert "dns:///127.0.0.1:50054" == made["STORAGE_TARGET"]


@pytest.mark.parametrize(
    ("listen", "address"),
    [("0.0.0.0:1", "127.0.0.1:1"), (":1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.7:1", "10.0.0.7:1")],
)
def test_address_of_a_wildcard_is_loopback(listen: str, address: str) -> None:
    """A service that listens on all addresses is called over loopback."""
    assert address == Layout.from_environment({"STORY_LISTEN": listen})[STORY].address


def test_free_ports_are_all_different() -> None:
    """A private cluster ignores given addresses and passes on everything else."""
    layout = Layout.on_free_ports()
    made = layout.environment({"GATEWAY_LISTEN": "127.0.0.1:50051", "STORY_TARGET": "dns:///x:1", "OTHER": "y"})
    addresses = [address for service in SERVICES for address in (layout[service].listen, layout[service].ops_listen)]
    assert 8 == len(set(addresses))
    assert layout[GATEWAY].listen == made["GATEWAY_LISTEN"]
    assert f"dns:///{layout[STORY].listen}" == made["STORY_TARGET"]
    assert "y" == made["OTHER"]


def test_certificate_stays_with_the_addresses_of_the_environment() -> None:
    """A private cluster is called over loopback, for which the certificate need not be."""
    environ = {"GATEWAY_TLS_CERT_FILE": "chain.pem", "GATEWAY_TLS_KEY_FILE": "key.pem"}
    assert environ.items() <= Layout.from_environment(environ).environment(environ).items()
    assert not environ.keys() & Layout.on_free_ports().environment(environ).keys()


@pytest.mark.parametrize(
    ("environ", "page"),
    [
        ({"GATEWAY_WEB_LISTEN": ""}, ""),
        ({"GATEWAY_WEB_LISTEN": "0.0.0.0:7001"}, "http://127.0.0.1:7001"),
        ({"GATEWAY_WEB_LISTEN": "127.0.0.1:7001", "GATEWAY_TLS_CERT_FILE": "chain.pem"}, "https://127.0.0.1:7001"),
        ({"GATEWAY_WEB_LISTEN": "127.0.0.1:7001", "GATEWAY_WEB_URL": "https://tales.example"}, "https://tales.example"),
    ],
)
def test_page_is_where_the_environment_says(environ: dict[str, str], page: str) -> None:
    """An empty address switches it off."""
    assert page == Layout.from_environment(environ).page


def test_private_cluster_has_no_page() -> None:
    """`tale demo` ends when its story does."""
    layout = Layout.on_free_ports()
    assert "" == layout.page
    assert "" == layout.environment({})["GATEWAY_WEB_LISTEN"]
