"""The Assistants' neighbours: chat completions, whole and streamed, embeddings and models."""

import base64
import binascii
from typing import Any

from tests.conformance.faults import NonConformance, parse_json, require, require_keys
from tests.conformance.frames import chat_frames
from tests.conformance.spec import validate

Json = dict[str, Any]

FLOAT32_BYTES = 4
DONE = "[DONE]"


def check_completion(value: Json) -> None:
    """Raise NonConformance if a chat completion's choices and calls do not fit together."""
    at = "chat.completion"
    require(bool(value["choices"]), f"{at}.choices: empty")
    for index, choice in enumerate(value["choices"]):
        require(choice["index"] == index, f"{at}.choices[{index}].index: {choice['index']}")
        calls = choice["message"].get("tool_calls")
        _check_finish(choice["finish_reason"], calls, f"{at}.choices[{index}]")
        ids = [call["id"] for call in calls or []]
        require(len(set(ids)) == len(ids), f"{at}.choices[{index}]: a call id stands twice")


def _check_finish(reason: str, calls: list[Json] | None, at: str) -> None:
    require(calls is None or bool(calls), f"{at}: tool_calls is empty; without calls it is absent")
    if reason == "tool_calls":
        require(calls is not None, f"{at}: finish_reason is tool_calls, but there are no calls")


def check_embeddings(value: Json) -> None:
    """Raise NonConformance if the vectors are out of order, ragged or wrongly encoded."""
    sizes = set()
    for index, item in enumerate(value["data"]):
        at = f"embeddings.data[{index}]"
        require(item["index"] == index, f"{at}.index: {item['index']}")
        sizes.add(_dimensions(item["embedding"], at))
    require(len(sizes) <= 1, f"embeddings.data: vectors of different sizes: {sorted(sizes)}")


def _dimensions(embedding: list[float] | str, at: str) -> int:
    if isinstance(embedding, list):
        return len(embedding)
    try:
        packed = base64.b64decode(embedding, validate=True)
    except binascii.Error as error:
        raise NonConformance(f"{at}.embedding: not base64: {error}") from error
    require(len(packed) % FLOAT32_BYTES == 0, f"{at}.embedding: not a row of float32")
    return len(packed) // FLOAT32_BYTES


def check_models(value: Json) -> None:
    """Raise NonConformance if a model is listed twice."""
    ids = [model["id"] for model in value["data"]]
    require(len(set(ids)) == len(ids), "models.data: an id stands twice")


def check_chat_stream(raw: bytes) -> list[object]:
    """The chunks of a streamed chat completion. Raises NonConformance at the first fault."""
    frames = chat_frames(raw)
    require(frames[-1] == DONE, "the chat stream does not end with data: [DONE]")
    require(frames.count(DONE) == 1, "a frame follows [DONE]")
    chunks = [parse_json(data, f"chunk {n}") for n, data in enumerate(frames[:-1])]
    checker = _ChatChecker()
    for chunk in chunks:
        checker.feed(chunk)
    checker.finish()
    return list(chunks)


class _ChatChecker:
    def __init__(self) -> None:
        self._number = -1
        self._first: Json | None = None
        self._choices: dict[int, _Choice] = {}
        self._has_usage = False

    def feed(self, chunk: Json) -> None:
        self._number += 1
        at = f"chunk {self._number}"
        validate("CreateChatCompletionStreamResponse", chunk, at)
        require(not self._has_usage, f"{at}: follows the usage chunk, which is the last")
        self._check_same(chunk, at)
        if not chunk["choices"]:
            self._check_usage(chunk, at)
        else:
            require(chunk.get("usage") is None, f"{at}: usage comes in a chunk without choices")
        for choice in chunk["choices"]:
            self._choices.setdefault(choice["index"], _Choice()).feed(choice, at)

    def _check_same(self, chunk: Json, at: str) -> None:
        self._first = self._first or chunk
        for key in ("id", "created", "model"):
            same = chunk[key] == self._first[key]
            require(same, f"{at}.{key}: {chunk[key]!r}, before it was {self._first[key]!r}")

    def _check_usage(self, chunk: Json, at: str) -> None:
        require(chunk.get("usage") is not None, f"{at}: neither choices nor usage")
        unfinished = [index for index, choice in self._choices.items() if not choice.reason]
        require(bool(self._choices) and not unfinished, f"{at}: usage before finish_reason")
        self._has_usage = True

    def finish(self) -> None:
        require(bool(self._choices), "the chat stream holds no choice")
        require(sorted(self._choices) == [*range(len(self._choices))], "a choice index is missing")
        for index, choice in self._choices.items():
            require(choice.reason is not None, f"choice {index}: no finish_reason")
            _check_finish(choice.reason or "", choice.calls or None, f"choice {index}")


class _Choice:
    def __init__(self) -> None:
        self.reason: str | None = None
        self.calls: list[Json] = []
        self._has_begun = False

    def feed(self, choice: Json, at: str) -> None:
        require(self.reason is None, f"{at}: follows the choice's finish_reason")
        delta = choice["delta"]
        if self._has_begun:
            require("role" not in delta, f"{at}: role comes in a choice's first delta only")
        else:
            require(delta.get("role") == "assistant", f"{at}: the first delta has no role")
        self._has_begun = True
        for fragment in delta.get("tool_calls") or []:
            self._add(fragment, at)
        self.reason = choice["finish_reason"]

    def _add(self, fragment: Json, at: str) -> None:
        index = fragment["index"]
        require(type(index) is int, f"{at}: tool index {index!r} is not an integer")
        require(0 <= index <= len(self.calls), f"{at}: tool index {index} leaves a gap")
        function = fragment.get("function", {})
        if index < len(self.calls):
            repeated = [key for key in ("id", "name") if key in fragment or key in function]
            require(not repeated, f"{at}: call {index} repeats its {' and '.join(repeated)}")
            return
        require_keys(fragment, ("index", "id", "type", "function"), f"{at}: call {index}")
        require_keys(function, ("name", "arguments"), f"{at}: call {index}.function")
        known = [call["id"] for call in self.calls]
        require(fragment["id"] not in known, f"{at}: call id {fragment['id']} stands twice")
        self.calls.append(fragment)
