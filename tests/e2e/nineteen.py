"""One proxy process with all nineteen providers, and calls through it."""

import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import httpx
import yaml

from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.e2e.calls import CHAT, MARK, Calls, calls_of, last_run, model_of
from tests.e2e.ringside import Ringside, serving
from tests.vendors.far_end import FarEnd, Said, far_end, key_of
from tests.vendors.recorded import recorded

__all__ = [
    "CHAT",
    "WEATHER",
    "Nineteen",
    "Proxy",
    "calls_of",
    "last_run",
    "model_of",
    "nineteen",
]

WEATHER: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Proxy(Calls):
    """A proxy with every provider, and what those say."""

    def __init__(self, url: str, session: aiohttp.ClientSession, far: FarEnd) -> None:
        super().__init__(url, session)
        self.far = far
        self.may_be_refused = False

    def answers(self, provider: str, *answers: str | Said) -> None:
        """What the provider says from now on, in order; a name is a recorded answer."""
        self.far.queues[provider] = deque(
            recorded(provider, answer) if isinstance(answer, str) else answer for answer in answers
        )

    def sent(self, provider: str) -> list[Any]:
        """The bodies the provider has received."""
        return [received.asked.body for received in self.far.received[provider]]

    def _hint(self) -> str:
        return str(self.far.refused)


def nineteen_yaml(far_url: str, admin_port: int) -> str:
    """A configuration with every provider, each at its own path of the far end."""
    providers = {
        name: {
            "api_key": key_of(name),
            "base_url": f"{far_url}/{name}",
            "max_retries": 0,
            "breaker": False,
        }
        for name in TYPICAL_MODELS
    }
    return CONFIG + yaml.safe_dump({"admin": {"port": admin_port}, "providers": providers})


CONFIG: Final = """\
server: {{port: 0}}
models: {{refresh: null}}
store: {{url: "sqlite:///{store}"}}
auth: {{tokens: [{{name: app, token: {token}}}]}}
images: {{allow_private: [127.0.0.1]}}
"""


class Nineteen:
    """A proxy process, and the vendors that it calls."""

    def __init__(self, ringside: Ringside, far: FarEnd) -> None:
        self.ringside, self.far = ringside, far


@contextmanager
def nineteen(home: Path) -> Iterator[Nineteen]:
    """Runs both until the block ends; no key of a provider may stand in the metrics or the log."""
    port = _free_port()
    with far_end() as far, serving(home, nineteen_yaml(far.url, port)) as ringside:
        yield Nineteen(ringside, far)
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
        assert "ringside_upstream_requests_total" in metrics.text
        assert MARK not in metrics.text + ringside.log.read_text()


def _free_port() -> int:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        return int(given.getsockname()[1])
