"""What an owner sets for one provider alone reaches that provider, and nobody else."""

from collections import deque
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from tests.e2e.nineteen import CHAT, CONFIG, Proxy, model_of
from tests.e2e.ringside import TOKEN, serving
from tests.vendors.far_end import far_end, key_of
from tests.vendors.speech import WORDS
from tests.vendors.wires import says

OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "openai": {"organization": "org-1", "project": "proj_1"},
    "huggingface": {"bill_to": "acme"},
    "openrouter": {"referer": "https://app.example.com", "title": "App"},
    "ollama": {"num_ctx": 16_384},
}
HEADERS: Final = {
    "openai": {"openai-organization": "org-1", "openai-project": "proj_1"},
    "huggingface": {"x-hf-bill-to": "acme"},
    "openrouter": {"http-referer": "https://app.example.com", "x-title": "App"},
}


async def test_options_reach_their_provider(tmp_path: Path) -> None:
    """As headers, and for Ollama in the request."""
    with far_end() as far:
        providers = {
            name: {"api_key": key_of(name), "base_url": f"{far.url}/{name}"} | options
            for name, options in OPTIONS.items()
        }
        config = CONFIG + yaml.safe_dump({"admin": {"port": 0}, "providers": providers})
        with serving(tmp_path, config) as ringside:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                proxy = Proxy(ringside.url, session, far)
                for name in OPTIONS:
                    far.queues[name] = deque([says(name, WORDS)])
                    body = {
                        "model": model_of(name),
                        "messages": [{"role": "user", "content": "Hi"}],
                    }
                    await proxy.call(CHAT, body)

        asked = {name: far.received[name][0].asked for name in OPTIONS}
        assert not far.refused
        for name, expected in HEADERS.items():
            told = asked[name].headers
            assert {header: told.get(header) for header in expected} == expected
        assert asked["ollama"].body["options"] == {"num_ctx": 16_384}
