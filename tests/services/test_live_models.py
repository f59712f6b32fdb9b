"""Reading the providers' own model lists: in the background, bounded, and never in anybody's way."""

import pytest

from ringside_proxy.providers.client import ProviderClient, Target
from ringside_proxy.providers.listings import ListedModel
from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import Credentials
from ringside_proxy.services.live_models import ASK_AGAIN_S, PAGES_MAX, LiveModels
from ringside_proxy.services.model_routing import ActiveProvider
from ringside_proxy.telemetry.metrics import Metrics
from tests.fakes import FakeClock, FakeUpstream, Scripted, error_reply, json_reply

KEY = "k-listing"


class StopError(Exception):
    """Ends a loop that has no end."""


class Rig:
    """The lists of some providers that are all one fake upstream."""

    def __init__(self, upstream: FakeUpstream, *providers: str) -> None:
        self.upstream = upstream
        self.metrics = Metrics("0")
        self.refresh_s: float | None = 3600.0
        self.slept_s: list[float] = []
        self.naps = 3
        credentials = Credentials(base_url=upstream.base_url, api_key=KEY)
        active = {
            name: ActiveProvider(
                provider=PROVIDERS[name],
                credentials=credentials,
                target=Target(provider=name, model=""),
            )
            for name in providers
        }
        self.client = ProviderClient(FakeClock(), lambda low, high: high, sleep=self._no_wait)
        self.live = LiveModels(
            self.client,
            lambda: active,
            lambda: self.refresh_s,
            lambda low, high: high,
            self.metrics,
            sleep=self._sleep,
        )

    async def _no_wait(self, seconds: float) -> None:
        """Retries come at once."""

    async def _sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        if len(self.slept_s) == self.naps:
            raise StopError

    def count(self, provider: str, outcome: str) -> str:
        """The metric's line."""
        name = f'ringside_model_lists_total{{outcome="{outcome}",provider="{provider}"}}'
        lines = self.metrics.render().decode().splitlines()
        return next(line.removeprefix(name).strip() for line in lines if line.startswith(name))


@pytest.fixture
async def rigged():
    """`rigged("openai", …)`: these providers are on."""
    rigs: list[Rig] = []
    async with FakeUpstream(is_strict=False) as upstream:

        def made(*providers):
            rigs.append(Rig(upstream, *providers))
            return rigs[-1]

        yield made
        for rig in rigs:
            await rig.client.close()


def openai_list(*names):
    return json_reply({"object": "list", "data": [{"id": name} for name in names]})


async def test_every_list_of_a_provider_that_is_on_is_read(rigged):
    """Those without a list are not asked."""
    rig = rigged("openai", "replicate", "groq")
    rig.upstream.enqueue(openai_list("a"), openai_list("b"))

    await rig.live.refresh()

    assert rig.live.known == {"openai": (ListedModel(id="a"),), "groq": (ListedModel(id="b"),)}
    assert [request.path for request in rig.upstream.requests] == ["/v1/models", "/v1/models"]
    assert rig.count("openai", "ok") == "1.0"


async def test_pages_are_followed_to_the_last(rigged):
    """A model that is on two of them counts once."""
    rig = rigged("anthropic")
    first = {"data": [{"id": "a"}, {"id": "b"}], "has_more": True, "last_id": "b"}
    last = {"data": [{"id": "b"}, {"id": "c"}], "has_more": False, "last_id": "c"}
    rig.upstream.enqueue(json_reply(first), json_reply(last))

    await rig.live.refresh()

    assert [model.id for model in rig.live.known["anthropic"]] == ["a", "b", "c"]


async def test_a_list_that_never_ends_is_left(rigged):
    """After so many pages what was read is enough."""
    rig = rigged("anthropic")
    page = {"data": [{"id": "a"}], "has_more": True, "last_id": "a"}
    rig.upstream.enqueue(*[json_reply(page)] * (PAGES_MAX + 5))

    await rig.live.refresh()

    assert len(rig.upstream.requests) == PAGES_MAX


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (error_reply(401, "invalid_api_key"), "provider_auth_failed"),
        (error_reply(404), "invalid_request"),
        (json_reply({"data": "none"}), "provider_bad_response"),
        (Scripted([b"<html>"], 200, {"content-type": "text/html"}), "provider_bad_response"),
    ],
)
async def test_a_list_that_cannot_be_had_leaves_the_last_one(rigged, reply, code):
    """It is counted, the other lists are still read, and nothing is raised."""
    rig = rigged("openai", "groq")
    rig.upstream.enqueue(openai_list("a"), openai_list("b"))
    await rig.live.refresh()
    version = rig.live.version

    rig.upstream.enqueue(reply, openai_list("c"))
    await rig.live.refresh()

    assert [model.id for model in rig.live.known["openai"]] == ["a"]
    assert [model.id for model in rig.live.known["groq"]] == ["c"]
    assert rig.live.version == version + 1
    assert rig.count("openai", code) == "1.0"
    assert rig.count("groq", "ok") == "2.0"


async def test_an_unchanged_list_is_no_news(rigged):
    """What was made of it is kept."""
    rig = rigged("openai")
    rig.upstream.enqueue(openai_list("a"), openai_list("a"))

    await rig.live.refresh()
    version = rig.live.version
    await rig.live.refresh()

    assert rig.live.version == version


async def test_lists_are_read_soon_after_the_start_and_then_every_so_often(rigged):
    """Not at once, and never two proxies in step: both waits are drawn at random."""
    rig = rigged("openai")
    rig.upstream.enqueue(openai_list("a"), openai_list("b"))

    with pytest.raises(StopError):
        await rig.live.run()

    assert rig.slept_s == [15.0, 3600.0 * 1.1, 3600.0 * 1.1]
    assert [model.id for model in rig.live.known["openai"]] == ["b"]


async def test_null_reads_no_list(rigged):
    """Until the configuration says otherwise."""
    rig = rigged("openai")
    rig.refresh_s = None

    with pytest.raises(StopError):
        await rig.live.run()

    assert rig.upstream.requests == []
    assert rig.slept_s == [15.0, ASK_AGAIN_S * 1.1, ASK_AGAIN_S * 1.1]
