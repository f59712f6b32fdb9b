"""Server-sent events, to the byte: LF alone, one blank line after each frame, nothing besides."""

import re

from tests.conformance.faults import NonConformance, require

RUN_STREAM_END = "event: done\ndata: [DONE]\n\n"
CHAT_STREAM_END = "data: [DONE]\n\n"
EVENT, DATA, COMMENT = "event: ", "data: ", ":"
JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def run_frames(raw: bytes) -> list[tuple[str, str]]:
    """Event and data of each frame of a run's stream. Raises NonConformance."""
    frames = []
    for number, lines in enumerate(_frames(raw, RUN_STREAM_END)):
        at = f"frame {number}"
        is_pair = len(lines) == 2 and lines[0].startswith(EVENT) and lines[1].startswith(DATA)
        require(is_pair, f"{at}: not one event: and one data: line: {_shown(lines)}")
        data = lines[1].removeprefix(DATA)
        _require_compact(data, at)
        frames.append((lines[0].removeprefix(EVENT), data))
    return frames


def chat_frames(raw: bytes) -> list[str]:
    """The data of each frame of a chat stream. Raises NonConformance."""
    frames = []
    for number, lines in enumerate(_frames(raw, CHAT_STREAM_END)):
        is_data = len(lines) == 1 and lines[0].startswith(DATA)
        require(is_data, f"frame {number}: not one data: line: {_shown(lines)}")
        frames.append(lines[0].removeprefix(DATA))
    return frames


def _frames(raw: bytes, end: str) -> list[list[str]]:
    """The lines of each frame; keep-alive comments, frames of their own, are left out."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NonConformance(f"the stream is not UTF-8: {error}") from error
    require("\r" not in text, "a carriage return: lines end with LF alone")
    require(text.endswith(end), f"the stream does not end with {end!r} but with {text[-40:]!r}")
    frames = [frame.split("\n") for frame in text.removesuffix("\n\n").split("\n\n")]
    for number, lines in enumerate(frames):
        require("" not in lines, f"frame {number}: a blank line too many")
    return [lines for lines in frames if not all(line.startswith(COMMENT) for line in lines)]


def _require_compact(data: str, at: str) -> None:
    outside_strings = JSON_STRING.sub("", data)
    require(not re.search(r"\s", outside_strings), f"{at}: the JSON is not compact")


def _shown(lines: list[str]) -> str:
    return " | ".join(line[:40] for line in lines)
