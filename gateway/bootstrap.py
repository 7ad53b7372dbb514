"""Builds the gateway from its settings."""

from typing import Final

import grpc

from gateway.app import GatewayApp
from gateway.door.access import Access
from gateway.door.authentication import authenticator_for
from gateway.door.certificate import Certificate
from gateway.door.proxy import ForwardingHandler
from gateway.door.quotas import Quotas, RequestLimit
from gateway.door.servicer import GatewayServicer
from gateway.door.system import System
from gateway.door.web.bridge import Bridge
from gateway.door.web.downloads import Downloads
from gateway.door.web.links import LinkAuthenticator, Links, link_secret
from gateway.door.web.media import Media
from gateway.door.web.server import WebServer
from gateway.door.web.site import Site
from gateway.metrics import GatewayMetrics
from gateway.peers.clients import Peers
from gateway.runs.active import Runs
from gateway.runs.checkpointer import Checkpointer
from gateway.runs.claimer import Claimer
from gateway.runs.followed_stories import FollowedStories
from gateway.runs.shown import show_runs
from gateway.settings import GatewaySettings
from gateway.watch.audio import AudioBuffer, AudioReader
from gateway.watch.follower import Follower
from gateway.watch.watcher import Sources
from servicekit.addresses import is_loopback
from servicekit.channel import PeerChannel, open_channel
from servicekit.metrics import Metrics
from servicekit.settings import warnings_of
from servicekit.tracer import open_tracer
from tale.profile.v1 import profile_pb2_grpc
from tale.storage.v1 import storage_pb2_grpc
from tale.story.v1 import story_pb2_grpc
from tale.voice.v1 import voice_pb2_grpc

_OPEN_TO_ALL: Final = (
    "Every caller that reaches this address can use the gateway: there is no authentication. Set GATEWAY_AUTH."
)


def build(settings: GatewaySettings) -> GatewayApp:
    """Returns the gateway. Its channels connect when they are first used."""
    token = settings.peer_token
    storage, story, voice = (
        PeerChannel(open_channel(target), token)
        for target in (settings.storage_target, settings.story_target, settings.voice_target)
    )
    # Without health checks, since the status of a service that is starting or draining counts as well.
    targets = {"story": settings.story_target, "voice": settings.voice_target, "storage": settings.storage_target}
    status_channels = {
        name: PeerChannel(open_channel(target, health_checked=False), token) for name, target in targets.items()
    }
    peers = Peers(
        storage_pb2_grpc.StorageServiceStub(storage),
        story_pb2_grpc.StoryServiceStub(story),
        voice_pb2_grpc.VoiceServiceStub(voice),
    )
    listens = (settings.listen, *([settings.web_listen] if settings.web_listen else []))
    open_to_all = settings.auth == "none" and not all(map(is_loopback, listens))
    warnings = [*warnings_of(settings), *((_OPEN_TO_ALL,) if open_to_all else ())]
    metrics, followed = Metrics(), FollowedStories()
    counts = GatewayMetrics(metrics)
    checkpointer = Checkpointer(peers.storage, lease_seconds=settings.lease_seconds, metrics=counts)
    tracer = open_tracer("gateway")
    runs = Runs(peers, settings, checkpointer, followed, counts, tracer)
    show_runs(metrics, runs, followed, lease_seconds=settings.lease_seconds)
    claimer = Claimer(peers.storage, runs, interval_seconds=settings.pickup_interval_seconds, metrics=counts)
    follower = Follower(peers.storage, runs, claimer, followed)
    reader = AudioReader(peers.storage)
    buffer = AudioBuffer(reader)
    authenticator = LinkAuthenticator(authenticator_for(settings))

    def site(channel: grpc.aio.Channel) -> Site:
        files = Media(channel, links, authenticator)
        return Site(Bridge(channel), files.routes, metrics, url=settings.web_url, open_to_all=settings.auth == "none")

    web = WebServer(settings, site) if settings.web_listen else None
    links = Links(link_secret(settings), lambda: "" if web is None else web.url)
    system = System(status_channels, targets=targets, token=token, warnings=warnings)
    servicer = GatewayServicer(
        Sources(runs, claimer, followed, peers.storage, buffer),
        reader,
        system,
        peers.voice,
        Quotas(settings),
        Downloads(links, profile_pb2_grpc.ProfileServiceStub(storage)),
        counts,
    )
    limits = [RequestLimit(settings, metrics)] if settings.requests_per_minute else []
    app = GatewayApp(
        servicer,
        ForwardingHandler(storage=storage, voice=voice, story=story),
        Access(peers.storage),
        system,
        runs,
        (checkpointer.run, claimer.run, follower.run),
        buffer,
        (storage, story, voice, *status_channels.values(), *limits),
        web=web,
        warnings=warnings,
    )
    app.metrics, app.authenticator, app.tracer = metrics, authenticator, tracer
    app.limit = limits[0].check if limits else None
    if settings.tls_cert_file is not None and settings.tls_key_file is not None:
        app.credentials = Certificate(settings.tls_cert_file, settings.tls_key_file).credentials()
    return app
