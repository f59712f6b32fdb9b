"""A schema that a provider takes in general, but not this one, or not at this model."""

from typing import Final

import pytest

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.e2e.nineteen import CHAT, Proxy, last_run, model_of
from tests.e2e.test_contract_cases import FORMAT, GOOD, MESSAGES, has_schema, has_text
from tests.vendors.asked import Kind, Refused
from tests.vendors.envelopes import says_no
from tests.vendors.recorded import said

NATIVE: Final = [
    name
    for name, model in TYPICAL_MODELS.items()
    if PROVIDERS[name].capabilities(model).json_schema
]
REFUSALS: Final = (
    "Invalid schema for response_format 'weather': 'minimum' is not permitted.",
    "This model does not support response format `json_schema`.",
    "No endpoints found that can handle the requested parameters.",
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=["schema", "model", "route"])
@pytest.mark.parametrize("provider", NATIVE)
async def test_a_schema_that_is_refused_is_asked_for_in_words(
    provider: str, refusal: str, proxy: Proxy
) -> None:
    """Once, in the same request; the answer is held to the schema all the same."""
    no = says_no(provider, Refused(refusal, Kind.BAD_REQUEST))
    proxy.answers(provider, no, said(provider, GOOD))
    body = {"model": model_of(provider), "messages": MESSAGES, "response_format": FORMAT}

    answer = await proxy.call(CHAT, body)

    assert answer["choices"][0]["message"]["content"] == GOOD
    first, second = proxy.sent(provider)
    assert has_schema(first)
    assert not has_schema(second)
    assert has_text(second, '"degrees"')


@pytest.mark.parametrize("provider", NATIVE)
async def test_another_refusal_stays_one(provider: str, proxy: Proxy) -> None:
    """What is wrong with the rest of the request is not asked a second time."""
    proxy.answers(provider, says_no(provider, Refused("", Kind.BAD_REQUEST)))

    run = last_run(await proxy.run(provider, response_format=FORMAT))

    assert run["status"] == "failed"
    assert len(proxy.sent(provider)) == 1
