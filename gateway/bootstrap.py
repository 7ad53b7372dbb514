"""The composition root: settings -> objects -> service."""

from gateway.app import GatewayApp
from gateway.audio_buffer import AudioBuffer
from gateway.audio_reader import AudioReader
from gateway.claiming import Claimer
from gateway.followed import FollowedStories
from gateway.follower import Follower
from gateway.proxy import ForwardingHandler
from gateway.runs import Runs
from gateway.servicer import GatewayServicer
from gateway.settings import GatewaySettings
from gateway.siblings import Siblings, StoryClient, VoiceClient
from gateway.storage_client import StorageClient
from gateway.stories import Stories
from gateway.system import System
from gateway.watching import Sources
from servicekit.channel import open_channel
from servicekit.settings import is_loopback


def build(settings: GatewaySettings) -> GatewayApp:
    """Puts the gateway together. Channels connect when they are first used."""
    storage = open_channel(settings.storage_target)
    story = open_channel(settings.story_target)
    voice = open_channel(settings.voice_target)
    # Services that are starting or going down are asked how they are as well.
    targets = {"story": settings.story_target, "voice": settings.voice_target, "storage": settings.storage_target}
    asking = {name: open_channel(target, health_checked=False) for name, target in targets.items()}
    siblings = Siblings(StorageClient(storage), StoryClient(story), VoiceClient(voice))
    followed = FollowedStories()
    runs = Runs(siblings, settings, followed)
    claimer = Claimer(siblings.storage, runs, interval_seconds=settings.pickup_interval_seconds)
    reader = AudioReader(siblings.storage)
    buffer = AudioBuffer(reader)
    servicer = GatewayServicer(
        Stories(siblings, runs, reader),
        Sources(runs, claimer, followed, siblings.storage, buffer, settings.heartbeat_seconds),
        System(asking, targets=targets),
    )
    open_door = not is_loopback(settings.listen)
    return GatewayApp(
        servicer,
        ForwardingHandler(storage=storage, voice=voice, story=story),
        runs,
        claimer,
        Follower(siblings.storage, runs, claimer, followed),
        buffer,
        (storage, story, voice, *asking.values()),
        warnings=("Every caller that reaches this address can use the gateway: there is no authentication.",)
        if open_door
        else (),
    )
