"""A model behind the fakes that answers by what it is asked, as far as the contract needs one."""

from collections.abc import Callable
from typing import Any, Final

from tests.vendors.asked import Asked, keys, strings
from tests.vendors.far_end import Answer
from tests.vendors.speech import Call, Count, Say
from tests.vendors.wires import says

OUTPUT: Final = "12 degrees and sunny"
JSON: Final = '{"city": "Bern", "degrees": 12}'
IN_WORDS: Final = '{"name": "get_weather"'
"""A function that is offered in words, where there is no other way to."""
NEVER: Final = frozenset({"none", "NONE"})


def thinks(vendor: str) -> Callable[[Asked], Answer]:
    """The vendor's model."""

    def answer(asked: Asked) -> Answer:
        return says(vendor, _thought(asked.body))(asked)

    return answer


def _thought(body: Any) -> Say:
    texts = [*strings(body)]
    count = Count(read=40, written=12)
    if any(OUTPUT in text for text in texts):
        return Say("It is 12 degrees in Bern.", count=count)
    if any("as JSON" in text for text in texts):
        return Say(JSON, count=count)
    offered = any(IN_WORDS in text for text in texts)
    if offered or ("get_weather" in texts and not _forbids(body)):
        return Say("", (Call("call_x1y2z3", "get_weather", '{"city": "Bern"}'),), count=count)
    return Say("pong", count=count)


def _forbids(body: Any) -> bool:
    """Whether the request takes tools but wants none called, in any vendor's words."""
    if not isinstance(body, dict) or not {"tools", "toolConfig"} & {*keys(body)}:
        return True
    beside = body.get("additionalModelRequestFields") or {}
    config = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    choices = (body.get("tool_choice"), beside.get("tool_choice"), config.get("mode"))
    return any(NEVER & {*strings(choice)} for choice in choices)
