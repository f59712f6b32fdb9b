"""The price book: the owner's word first, then the bundled table, and never a guess."""

import pytest

from ringside_proxy.domain.model_ref import ModelRef
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers import catalogue
from ringside_proxy.services.prices import MODELS_KEPT_MAX, PriceBook, overrides
from ringside_proxy.settings.load import load

NOW_MS = 1_795_262_400_000
GPT = ModelRef("openai", "gpt-4o")
USAGE = TokenUsage(input_tokens=1_000_000, output_tokens=1_000_000)


@pytest.fixture
def book(tmp_path):
    """`book(yaml)`: the book of a configuration with these prices."""

    def made(prices, behind=None):
        path = tmp_path / "ringside.yaml"
        path.write_text(f"prices:\n{prices}\n", encoding="utf-8")
        return PriceBook(overrides(load(path, {}).prices), behind)

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


def test_a_deployment_costs_what_stands_behind_it(book):
    """Unless the owner gave the deployment a price, by its own name."""
    mine = ModelRef("azure", "mine")
    behind = {mine: ModelRef("azure", "gpt-4o")}
    halved = book("  'fc:azure/m*': {discount_percent: 50}\n", behind)

    assert usd(PriceBook(behind=behind).find(mine, NOW_MS)) == 12.5
    assert usd(halved.find(mine, NOW_MS)) == 6.25
    assert PriceBook().find(mine, NOW_MS) is None


@pytest.mark.parametrize(
    ("said", "rates"),
    [
        ("", (2.5, 1.25, 10)),
        ("  fc:openai/gpt-4o: {input: 1}\n", (1, None, 10)),
        ("  fc:openai/gpt-4o: {like: 'fc:openai/gpt-5.4'}\n", (2.5, 0.25, 15)),
        ("  'fc:openai/*': {discount_percent: 50}\n", (1.25, 0.625, 5)),
    ],
)
def test_what_is_shown_is_what_is_billed(book, said, rates):
    """A rate that the owner's price dropped is shown as none."""
    prices = book(said or "  {}")
    known = catalogue.find("openai", "gpt-4o").prices

    shown = prices.rates(GPT, known, NOW_MS)

    assert (shown.input, shown.cached_input, shown.output) == tuple(
        None if rate is None else rate * 10**9 for rate in rates
    )
    assert prices.find(GPT, NOW_MS).tiers[0].rates.input == shown.input


def test_half_a_price_is_shown_as_none(book):
    """As it is not billed either."""
    prices = book("  fc:openai/gpt-99: {input: 1}\n")

    assert prices.rates(ModelRef("openai", "gpt-99"), (), NOW_MS) is None


def test_the_price_is_that_of_the_moment_when_the_request_begins():
    """At DeepSeek half of what it is at the peak, from Monday to Friday."""
    book, ref = PriceBook(), ModelRef("deepseek", "deepseek-v4-pro")
    monday_ms = 1_795_392_000_000  # 2026-11-23T00:00Z

    found = [
        book.find(ref, monday_ms + hour * 3_600_000).tiers[0].rates.output / 10**9
        for hour in (0, 1, 3, 4, 6, 9, 10, 24 * 5 + 2, 24 * 6 + 7, 24 * 7 + 2)
    ]

    assert found == [1.98, 3.96, 3.96, 1.98, 3.96, 3.96, 1.98, 1.98, 1.98, 3.96]
