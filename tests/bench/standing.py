"""What it costs to be there: start-up, memory, disk."""

import asyncio
import compileall
import importlib.metadata
import shutil
import subprocess
import tempfile
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
OURS: Final = "ringside-proxy"


def compiled() -> None:
    """Compile the package, as its installation does."""
    compileall.compile_dir(PACKAGE, quiet=2)


async def start_up(on: Field) -> dict[str, Figure]:
    """Seconds from the command to the first 200 on a new store, CPU, waits for a core; MB afterwards."""
    loop, request = asyncio.get_running_loop(), chat(f"fc:openai/{MODEL}")
    figures = {name: Figure() for name in ("seconds", "CPU seconds", "waited seconds", "idle MB")}
    for _ in range(on.scale.starts):
        began_s = loop.time()
        with ringside(on.home / "start", on.upstream.port) as contender:
            await load.closed_loop(contender.port, request, 1, 1)
            figures["seconds"].values.append(loop.time() - began_s)
            figures["CPU seconds"].values.append(contender.cpu_s())
            figures["waited seconds"].values.append(contender.waited_s())
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


def installed() -> dict[str, float]:
    """MB of the package and of everything it needs, by distribution, bytecode too."""
    sizes, waiting = dict[str, float](), [OURS]
    while waiting:
        name = waiting.pop()
        if name not in sizes:
            sizes[name] = sum(file.stat().st_size for file in _files(name)) / MB
            waiting += _needs(name)
    return sizes


def stripped_mb(sizes: dict[str, float]) -> float | None:
    """MB of the same once the image's build has taken the debugger's symbols out; None without strip."""
    strip = shutil.which("strip")
    if strip is None:
        return None
    saved = 0
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.so"
        for name in sizes:
            for file in _files(name):
                if file.suffix == ".so":
                    subprocess.run([strip, "--strip-debug", "-o", bare, file], check=True)
                    saved += file.stat().st_size - bare.stat().st_size
    return sum(sizes.values()) - saved / MB


def _files(name: str) -> list[Path]:
    if name == OURS:
        return [path for path in PACKAGE.rglob("*") if path.is_file()]
    files = (Path(str(file.locate())) for file in importlib.metadata.files(name) or ())
    return [file for file in files if file.is_file()]


def _needs(name: str) -> list[str]:
    requirements = map(Requirement, importlib.metadata.requires(name) or ())
    return [
        canonicalize_name(each.name)
        for each in requirements
        if each.marker is None or each.marker.evaluate({"extra": ""})
    ]
