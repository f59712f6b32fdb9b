"""`ringside demo`: a whole conversation, from the official SDK to the sandbox and back."""

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any, Final

from openai import AsyncOpenAI
from openai.types.beta import FunctionToolParam
from openai.types.beta.threads import RequiredActionFunctionToolCall, Run
from openai.types.beta.threads.run_submit_tool_outputs_params import ToolOutput

from ringside_proxy.app import running
from ringside_proxy.services.tokens import new_token
from ringside_proxy.settings.schema import (
    AdminSettings,
    AuthSettings,
    ProviderSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    TokenSettings,
)
from ringside_proxy.settings.values import TokenHash

MODEL: Final = "fc:sandbox/say-then-tools"
QUESTION: Final = "Should I take an umbrella to Bern?"
WEATHER_TOOL: Final[FunctionToolParam] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


async def run() -> int:
    """Start a proxy on a temporary store, drive it, print what happens; gives the exit status."""
    # OpenAI marks its own Assistants calls as deprecated; they are what this is about.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    token = new_token()
    with tempfile.TemporaryDirectory(prefix="ringside-demo-") as folder:
        settings = Settings(
            server=ServerSettings(port=0),
            admin=AdminSettings(port=0),
            store=StoreSettings(url=f"sqlite:///{Path(folder, 'demo.db')}"),
            auth=AuthSettings(
                tokens=(TokenSettings(name="demo", hash_of_token=TokenHash.of(token)),)
            ),
            providers={"sandbox": ProviderSettings()},
        )
        async with running(settings) as proxy:
            print(f"A proxy on {proxy.url}, with a temporary store and the sandbox provider.\n")
            async with AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key=token) as client:
                await _converse(client)
    return 0


async def _converse(client: AsyncOpenAI) -> None:
    assistant = await client.beta.assistants.create(
        model=MODEL, instructions="You help people dress for the weather.", tools=[WEATHER_TOOL]
    )
    print(f"assistant  {assistant.id}  on {assistant.model}")
    thread = await client.beta.threads.create()
    print(f"thread     {thread.id}")
    await client.beta.threads.messages.create(thread.id, role="user", content=QUESTION)
    print(f"user       {QUESTION}")

    async with client.beta.threads.runs.stream(
        thread_id=thread.id, assistant_id=assistant.id
    ) as stream:
        await _print_stream(stream)
        waiting = await stream.get_final_run()
    print(f"run        {waiting.id}  is {waiting.status}")

    outputs = [_answer(call) for call in _pending_calls(waiting)]
    async with client.beta.threads.runs.submit_tool_outputs_stream(
        run_id=waiting.id, thread_id=thread.id, tool_outputs=outputs
    ) as stream:
        await _print_stream(stream)
        done = await stream.get_final_run()
    print(f"run        {done.id}  is {done.status}")
    if done.usage is not None:
        print(
            f"usage      {done.usage.prompt_tokens} prompt + {done.usage.completion_tokens} "
            f"completion = {done.usage.total_tokens} tokens"
        )


async def _print_stream(stream: Any) -> None:
    """The assistant's words as they come."""
    is_open = False
    async for text in stream.text_deltas:
        print(text if is_open else f"assistant  {text}", end="", flush=True)
        is_open = True
    if is_open:
        print()


def _pending_calls(run: Run) -> list[RequiredActionFunctionToolCall]:
    if run.required_action is None:
        raise RuntimeError(f"the run is {run.status}, not waiting for a function's output")
    return run.required_action.submit_tool_outputs.tool_calls


def _answer(call: RequiredActionFunctionToolCall) -> ToolOutput:
    """Run the function that the model called: this part is the application's own."""
    city = json.loads(call.function.arguments)["city"]
    output = f"rain in {city}, 7 degrees"
    print(f"function   {call.function.name}({call.function.arguments}) → {output}")
    return {"tool_call_id": call.id, "output": output}
