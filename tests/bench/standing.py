"""What it costs to be there: start-up, memory, disk."""

import asyncio
import compileall
import importlib.metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ringside_proxy
from tests.bench import load
from tests.bench.field import MODEL, Field, chat, ringside
from tests.bench.scale import Figure
from tests.bench.works import paced, proxied

PACKAGE: Final = Path(ringside_proxy.__file__).parent
MB: Final = 10**6


def compiled() -> None:
    """Compile the package, as its installation does."""
    compileall.compile_dir(PACKAGE, quiet=2)


async def start_up(on: Field) -> dict[str, Figure]:
    """Seconds from the command to the first 200 on a new store, CPU and all, and MB afterwards."""
    loop, request = asyncio.get_running_loop(), chat(f"fc:openai/{MODEL}")
    figures = {"seconds": Figure(), "CPU seconds": Figure(), "idle MB": Figure()}
    for _ in range(on.scale.starts):
        began_s = loop.time()
        with ringside(on.home / "start", on.upstream.port) as contender:
            await load.closed_loop(contender.port, request, 1, 1)
            figures["seconds"].values.append(loop.time() - began_s)
            figures["CPU seconds"].values.append(contender.cpu_s())
            figures["idle MB"].values.append(contender.rss_bytes() / MB)
    return figures


async def memory(on: Field) -> dict[str, float]:
    """MB that many requests leave behind, and that a thousand open streams take."""
    request, scale = chat(f"fc:openai/{MODEL}"), on.scale
    with ringside(on.home / "memory", on.upstream.port) as contender:
        await load.closed_loop(contender.port, request, 1, 1)
        idle = contender.rss_bytes()
        await load.closed_loop(contender.port, request, scale.memory_requests, scale.callers)
        after = contender.rss_bytes()
        streams, per_s = scale.streams[-1]
        open_ = await paced(on, contender, streams, per_s, proxied)
        return {
            "requests": (after - idle) / MB,
            "streams": (open_.rss_bytes - after) / MB * 1000 / streams,
        }


def installed() -> tuple[float, dict[str, float]]:
    """MB of the package and of everything it needs, bytecode too; and by distribution."""
    sizes = {"ringside-proxy": sum(map(_size, PACKAGE.rglob("*"))) / MB}
    waiting = _needs("ringside-proxy")
    while waiting:
        name = waiting.pop()
        if name in sizes:
            continue
        files = importlib.metadata.files(name) or ()
        sizes[name] = sum(_size(Path(str(file.locate()))) for file in files) / MB
        waiting += _needs(name)
    return sum(sizes.values()), sizes


def _needs(name: str) -> list[str]:
    requirements = map(Requirement, importlib.metadata.requires(name) or ())
    return [
        canonicalize_name(each.name)
        for each in requirements
        if each.marker is None or each.marker.evaluate({"extra": ""})
    ]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
