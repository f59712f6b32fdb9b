"""Small sources in the shape of the real ones, for the tests of freezing."""

from datetime import date
from decimal import Decimal
from typing import Any, Final

from tests.catalogue import genai
from tests.catalogue.freeze import Sources

GENAI: Final = """
import datetime
from decimal import Decimal
from .types import *

providers: list[Provider] = [
    Provider(
        id='openai',
        models=[
            ModelInfo(
                id='gpt-9',
                match=ClauseOr(or_=[
                    ClauseEquals(equals='gpt-9'),
                    ClauseEquals(equals='gpt-9-latest'),
                    ClauseEquals(equals='gpt-9-dear'),
                    ClauseRegex(regex='^gpt-9-\\\\d{4}$'),
                ]),
                context_window=1000,
                prices=ModelPrice(
                    input_mtok=TieredPrices(base=Decimal('2'), tiers=[Tier(start=272000, price=Decimal('4'))]),
                    cache_read_mtok=Decimal('0.2'),
                    output_mtok=TieredPrices(base=Decimal('10'), tiers=[Tier(start=272000, price=Decimal('15'))]),
                    requests_kcount=Decimal('5'),
                    web_searches_kcount=Decimal('10'),
                ),
                price_variants=[
                    PriceVariant(
                        when={'service_tier': 'flex'},
                        prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('5')),
                        constraint=StartDateConstraint(start_date=datetime.date(2026, 10, 1)),
                    ),
                    PriceVariant(
                        when={'service_tier': 'default'}, prices=ModelPrice(), constraint=None
                    ),
                    PriceVariant(
                        when={'processing': 'batch'}, prices=ModelPrice(input_mtok=Decimal('1'))
                    ),
                ],
            ),
            ModelInfo(
                id='gpt-9-mini',
                match=ClauseOr(or_=[
                    ClauseEquals(equals='gpt-9-mini'), ClauseEquals(equals='gpt-9-latest')
                ]),
                prices=[
                    ConditionalPrice(
                        constraint=None,
                        prices=ModelPrice(input_mtok=Decimal('9'), output_mtok=Decimal('9')),
                    ),
                    ConditionalPrice(
                        constraint=StartDateConstraint(start_date=datetime.date(2026, 1, 1)),
                        prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('2')),
                    ),
                    ConditionalPrice(
                        constraint=StartDateConstraint(start_date=datetime.date(2026, 12, 1)),
                        prices=ModelPrice(input_mtok=Decimal('3'), output_mtok=Decimal('4')),
                    ),
                ],
            ),
            ModelInfo(
                id='gpt-peak',
                match=ClauseAnd(and_=[
                    ClauseStartsWith(starts_with='GPT-Peak'), ClauseContains(contains='k')
                ]),
                prices=[
                    ConditionalPrice(
                        constraint=None,
                        prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('2')),
                    ),
                    ConditionalPrice(
                        constraint=TimeOfDateConstraint(
                            start_time=datetime.time(1, 0, tzinfo=datetime.timezone.utc),
                            end_time=datetime.time(4, 30, tzinfo=datetime.timezone.utc),
                        ),
                        prices=ModelPrice(input_mtok=Decimal('2'), output_mtok=Decimal('4')),
                    ),
                ],
            ),
            ModelInfo(
                id='gpt-9-image',
                match=ClauseEquals(equals='gpt-9-image'),
                prices=ModelPrice(input_mtok=Decimal('1'), output_image_mtok=Decimal('40')),
            ),
            ModelInfo(
                id='gpt-9-draws',
                match=ClauseEquals(equals='gpt-9-draws'),
                prices=ModelPrice(input_mtok=Decimal('1'), output_image_mtok=Decimal('40')),
            ),
            ModelInfo(
                id='gpt-old',
                match=ClauseEquals(equals='gpt-old'),
                prices=ModelPrice(input_mtok=Decimal('0.5'), output_mtok=Decimal('1')),
            ),
            ModelInfo(
                id='gpt-fine',
                match=ClauseEquals(equals='gpt-fine'),
                prices=ModelPrice(input_mtok=Decimal('0.0000000001'), output_mtok=Decimal('1')),
            ),
            ModelInfo(
                id='short',
                match=ClauseOr(or_=[ClauseEquals(equals='short'), ClauseEquals(equals='Short-2511')]),
                prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('1')),
            ),
            ModelInfo(
                id='text-embed-9',
                match=ClauseEquals(equals='text-embed-9'),
                prices=ModelPrice(input_mtok=Decimal('0.1'), output_mtok=Decimal('0.1')),
            ),
            ModelInfo(
                id='free', match=ClauseEquals(equals='free'), prices=ModelPrice()
            ),
        ],
    ),
    Provider(
        id='openrouter',
        models=[
            ModelInfo(
                id='a/b:free', match=ClauseEquals(equals='a/b:free'), prices=ModelPrice()
            ),
            ModelInfo(
                id='b', match=ClauseEquals(equals='b'),
                prices=ModelPrice(
                    input_mtok=Decimal('2'), cache_write_mtok=Decimal('0.5'), output_mtok=Decimal('1')
                ),
            ),
        ],
    ),
    Provider(
        id='huggingface_groq',
        models=[
            ModelInfo(
                id='Org/M', match=ClauseEquals(equals='org/m'),
                prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('2')),
            ),
        ],
    ),
]
"""


def entry(provider: str = "openai", mode: str = "chat", **given: Any) -> dict[str, Any]:
    """An entry of litellm's table."""
    return {"litellm_provider": provider, "mode": mode, **given}


def costs(usd_in: str, usd_out: str, **given: Any) -> dict[str, Any]:
    """The same with prices, given in USD per million tokens."""
    per_token = {
        "input_cost_per_token": Decimal(usd_in) / 10**6,
        "output_cost_per_token": Decimal(usd_out) / 10**6,
    }
    return entry(**(per_token | given))


LITELLM: Final = {
    "gpt-9": costs(
        "2",
        "10",
        max_input_tokens=2000,
        max_output_tokens=500,
        supports_function_calling=True,
        supports_vision=True,
        supports_prompt_caching=True,
    ),
    "gpt-9-dear": costs("5", "20"),
    "gpt-9-mini": costs("1", "2", supports_prompt_caching=True),
    "gpt-old": costs("1", "2", deprecation_date="2026-11-20"),
    "gpt-gone": costs("1", "2", deprecation_date="2026-11-20"),
    "gpt-peak": costs("9", "9"),
    "short-2511": costs("0.5", "0.5"),
    "openai/gpt-new": costs(
        "1",
        "2",
        cache_read_input_token_cost=Decimal("1e-7"),
        cache_creation_input_token_cost_above_1hr=Decimal("4e-6"),
        input_cost_per_token_above_200k_tokens=Decimal("3e-6"),
        input_cost_per_token_flex=Decimal("5e-7"),
        input_cost_per_token_batches=Decimal("5e-7"),
        input_cost_per_request=Decimal("0.01"),
        deprecation_date="2027-01-01",
    ),
    "gpt-zero": costs("0", "0"),
    "ft:gpt-9-2026": costs("4", "20"),
    "gpt-9-tts": costs("1", "2"),
    "text-embed-10": entry(
        mode="embedding", input_cost_per_token=Decimal("1e-7"), max_input_tokens=8192
    ),
    "gpt-draw": costs("1", "2", mode="image_generation"),
    "other": costs("1", "2", provider="other"),
}

MODELS_DEV: Final = {
    "openai": {
        "models": {
            "gpt-9": {
                "id": "gpt-9",
                "release_date": "2026-03-05",
                "structured_output": True,
                "limit": {"context": 3000, "output": 700},
                "modalities": {"input": ["text"], "output": ["text"]},
            },
            "free": {"id": "free", "release_date": "2026-03", "status": "deprecated"},
        }
    }
}


def sources(**overlay: Any) -> Sources:
    """The sample as it is read, with an overlay."""
    return Sources(
        genai=genai.read(GENAI),
        litellm=LITELLM,
        models_dev=MODELS_DEV,
        overlay={"date": date(2026, 11, 21)} | overlay,
    )
