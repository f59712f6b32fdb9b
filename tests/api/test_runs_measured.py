"""What operators see of runs that are not over."""

import re

from ringside_proxy.delivery.housekeeping import Housekeeping
from ringside_proxy.system import SystemClock
from ringside_proxy.telemetry.metrics import Metrics
from tests.api.rig import FUNCTION, Ringside
from tests.api.test_slots import outputs_of
from tests.fakes import FakeUpstream, text_reply, tool_reply

MODEL = "fc:openai/gpt-4.1"


async def measured(ringside: Ringside) -> dict[str, float]:
    """Runs by status, as a look of the housekeeping finds them."""
    metrics = Metrics("test")

    async def nothing() -> None:
        """No configuration has changed."""

    db = ringside.proxy.services.db
    await Housekeeping(db, SystemClock(), metrics, nothing, lambda: 0.0).measure()
    shown = re.findall(
        r'^ringside_runs{status="(\w+)"} (\S+)$', metrics.render().decode(), re.MULTILINE
    )
    return {status: float(count) for status, count in shown}


async def test_runs_are_counted_by_their_status(ringside: Ringside, upstream: FakeUpstream) -> None:
    """As long as they are not over; every status that such a run can have is shown."""
    api = ringside.developer
    none = {"queued": 0, "in_progress": 0, "requires_action": 0, "cancelling": 0}
    before = await measured(ringside)
    upstream.enqueue(tool_reply([("call_1", "look_up", "{}")]), text_reply("done"))
    assistant = await api.assistant(model=MODEL, tools=[FUNCTION])
    run = await api.run(await api.thread("hi"), assistant)
    waiting = await measured(ringside)

    await api.post(
        f"/v1/threads/{run['thread_id']}/runs/{run['id']}/submit_tool_outputs",
        outputs_of(run),
    )

    assert run["status"] == "requires_action"
    assert (before, waiting) == (none, none | {"requires_action": 1})
    assert await measured(ringside) == none
