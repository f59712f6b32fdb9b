"""The price book: the owner's word first, then the bundled table, and never a guess."""

import pytest

from ringside_proxy.domain.model_ref import ModelRef
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.services.prices import MODELS_KEPT_MAX, PriceBook, overrides
from ringside_proxy.settings.load import load

NOW_MS = 1_795_262_400_000
GPT = ModelRef("openai", "gpt-4o")
USAGE = TokenUsage(input_tokens=1_000_000, output_tokens=1_000_000)


@pytest.fixture
def book(tmp_path):
    """`book(yaml)`: the book of a configuration with these prices."""

    def made(prices):
        path = tmp_path / "ringside.yaml"
        path.write_text(f"prices:\n{prices}\n", encoding="utf-8")
        return PriceBook(overrides(load(path, {}).prices))

    return made


def usd(price):
    """What a million tokens in and a million out cost, in whole USD."""
    return price.cost_nano_usd(USAGE) / 10**9


def test_the_bundled_table_has_the_list_price():
    """With the day of the table as its source."""
    price = PriceBook().find(GPT, NOW_MS)

    assert price
    assert usd(price) == 12.5
    assert price.source.startswith("catalogue:2")


def test_an_unknown_model_has_no_price():
    """It is not free."""
    assert PriceBook().find(ModelRef("openai", "gpt-99"), NOW_MS) is None


@pytest.mark.parametrize("provider", ["ollama", "sandbox"])
def test_local_models_cost_nothing(provider):
    """So that customers with a cap can use them; unless the owner says otherwise."""
    price = PriceBook().find(ModelRef(provider, "anything"), NOW_MS)

    assert price
    assert price.source == "local"
    assert usd(price) == 0


def test_the_exact_name_wins_and_then_the_longest_beginning(book):
    """Whatever the order in the file."""
    prices = book(
        "  'fc:openai/*': {input: 1, output: 1}\n"
        "  'fc:openai/gpt-4o': {input: 3, output: 3}\n"
        "  'fc:openai/gpt-4o*': {input: 2, output: 2}\n"
        "  'fc:sandbox/*': {input: 5, output: 5}\n"
    )

    found = {
        name: usd(prices.find(ModelRef(*name.split("/", 1)), NOW_MS))
        for name in ["openai/gpt-4o", "openai/gpt-4o-mini", "openai/o3", "sandbox/echo"]
    }

    assert list(found.values()) == [6, 4, 2, 10]
    assert prices.find(GPT, NOW_MS).source == "config"


def test_what_is_not_said_stays_as_it_is_known(book):
    """Field by field; what is known nowhere stays unknown."""
    prices = book("  'fc:openai/*': {output: 20}\n")

    assert usd(prices.find(GPT, NOW_MS)) == 22.5
    assert prices.find(ModelRef("openai", "gpt-99"), NOW_MS) is None


def test_a_price_is_copied_from_another_model(book):
    """For deployments and tunings that the table cannot know."""
    prices = book("  fc:azure/mine: {like: 'fc:openai/gpt-4o', discount_percent: 10}\n")

    price = prices.find(ModelRef("azure", "mine"), NOW_MS)

    assert price
    assert usd(price) == 11.25
    assert price.source == "config"


def test_every_field_of_the_file_reaches_the_price(book):
    """Rates, tiers, classes of service and the fee, exact to the nano-USD."""
    prices = book(
        "  fc:replicate/x/y:\n"
        "    {input: 0.000000001, cached_input: 1, cache_write: 2, cache_write_1h: 3, output: 4,\n"
        "     tiers: [{above: 10, input: 5, output: 6}], service_tiers: {flex: 0.5},\n"
        "     per_request: 0.005}\n"
    )
    price = prices.find(ModelRef("replicate", "x/y"), NOW_MS)
    usage = TokenUsage(input_tokens=10, cached_input_tokens=3, cache_write_input_tokens=5)
    long = TokenUsage(input_tokens=11, output_tokens=1)

    assert price.cost_nano_usd(usage, cache_write_1h_tokens=1) == 5_000_000 + 1 + 3_000 + 11_000
    assert price.cost_nano_usd(long) == 5_000_000 + 55_000 + 6_000
    assert price.cost_nano_usd(long, service_tier="flex") == 5_000_000 + 30_500


def test_names_without_end_do_not_fill_the_memory():
    """Callers choose names; the oldest ones are looked up again."""
    book = PriceBook()
    for number in range(MODELS_KEPT_MAX * 2):
        book.find(ModelRef("openai", f"x{number}"), NOW_MS)

    assert len(book._kept) == MODELS_KEPT_MAX
    assert book.find(GPT, NOW_MS) == book.find(GPT, NOW_MS)
