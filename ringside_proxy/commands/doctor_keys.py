"""`ringside doctor --keys`: whether each provider takes its key, by the cheapest call there is.

A call of a few tokens to a provider's cheapest model, past every budget: it costs a small part of a
cent. It goes the same way as every other call, so that what it shows holds for those.
"""

import asyncio
from typing import Final

import msgspec

from ringside_proxy.app import SANDBOX, build_router
from ringside_proxy.commands.doctor import Finding
from ringside_proxy.domain.errors import (
    ProviderAuthenticationError,
    ProviderError,
    ProviderPermissionDeniedError,
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    RingsideError,
)
from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers import catalogue
from ringside_proxy.providers.catalogue import Model
from ringside_proxy.providers.client import ProviderClient
from ringside_proxy.providers.types import CompletionRequest
from ringside_proxy.sandbox.host import SandboxHost
from ringside_proxy.services.model_routing import ActiveProvider
from ringside_proxy.settings.schema import Settings
from ringside_proxy.system import Clock, system_uniform

SUBJECT: Final = "keys"
CALL_S_MAX: Final = 30.0
OUTPUT_TOKENS: Final = 16
"""The least that every provider takes."""
QUESTION: Final = "Say ok."

MEANINGS: Final[dict[type[RingsideError], tuple[str, str]]] = {
    ProviderAuthenticationError: (
        "{name} refuses the key",
        "put a valid one into providers.{name}",
    ),
    ProviderPermissionDeniedError: (
        "{name} does not allow {model}",
        "give the key that right there",
    ),
    ProviderQuotaExceededError: ("{name} is out of credit", "add credit to the account there"),
    ProviderError: ("{why}", "see its status page, the network and base_url"),
}
"""What a failure means for the owner; looked up along the class's ancestors."""
TAKEN: Final = (ProviderRateLimitedError, ProviderRejectedError)
"""Who answers so has looked at the key and taken it."""


async def findings(settings: Settings, clock: Clock, new_id: NewId) -> list[Finding]:
    """One finding for each provider that is on and needs a key, all asked at once."""
    providers = {name: given for name, given in settings.providers.items() if name != SANDBOX}
    if not providers:
        return [Finding("warn", SUBJECT, "no provider has a key here", "set OPENAI_API_KEY, say")]
    client = ProviderClient(clock, system_uniform())
    sandbox = SandboxHost(clock, new_id, lambda: False)  # never started: nobody asks for it
    try:
        router = await build_router(msgspec.structs.replace(settings, providers=providers), sandbox)
        asked = (
            _finding(client, settings, name, active, new_id)
            for name, active in router.active.items()
        )
        return await asyncio.gather(*asked)
    finally:
        await client.close()


async def _finding(
    client: ProviderClient, settings: Settings, name: str, active: ActiveProvider, new_id: NewId
) -> Finding:
    model = _cheapest(settings, name)
    if model is None:
        text = f"{name}: no model of it is known here, so its key was not tried"
        return Finding("warn", SUBJECT, text, "call one of its models once")
    try:
        async with asyncio.timeout(CALL_S_MAX):
            await _ask(client, active, model, new_id)
    except TAKEN:
        return Finding("ok", SUBJECT, f"{name} takes the key ({model} was refused for now)")
    except TimeoutError:
        text = f"{name} did not answer within {CALL_S_MAX:g} s"
        return Finding("FAIL", SUBJECT, text, "see its status page and the network")
    except RingsideError as error:
        meanings = (MEANINGS[cls] for cls in type(error).__mro__ if cls in MEANINGS)
        found = next(meanings, MEANINGS[ProviderError])
        text, remedy = (part.format(name=name, model=model, why=error.message) for part in found)
        return Finding("FAIL", SUBJECT, text, remedy)
    return Finding("ok", SUBJECT, f"{name} answers with {model}")


async def _ask(client: ProviderClient, active: ActiveProvider, model: str, new_id: NewId) -> None:
    """Return with the first thing that the model says. Raises ProviderError."""
    provider = active.provider
    request = CompletionRequest(
        model=model,
        messages=[{"role": "user", "content": QUESTION}],
        params={"max_completion_tokens": OUTPUT_TOKENS},
        is_stream=True,
    )
    target = msgspec.structs.replace(active.target, model=model, max_retries=0)
    async with client.stream(
        target,
        provider.build_request(request, active.credentials),
        lambda: provider.stream_decoder(request, new_id),
    ) as answer:
        async for _ in answer:
            return


def _cheapest(settings: Settings, name: str) -> str | None:
    """A model to ask: of the owner's own deployments the first, else the table's cheapest."""
    deployments = settings.providers[name].deployments
    if deployments:
        return next(iter(deployments))
    chats = [model for model in catalogue.models(name) if "embeddings" not in model.supports]
    return min(chats, key=_dearness).id if chats else None


def _dearness(model: Model) -> tuple[bool, bool, int]:
    """Models that think first come last, then those without a price, then the dear ones."""
    rates = model.prices[-1].prices.tiers[0].rates if model.prices else None
    output = rates.output if rates is not None else None
    return ("reasoning" in model.supports, output is None, output or 0)
