"""Freezing the model table, on small sources in the shape of the real ones."""

import json
import re
from datetime import date
from pathlib import Path

import pytest
import yaml

from ringside_proxy.providers import catalogue
from ringside_proxy.providers.registry import PROVIDERS
from tests.catalogue import genai
from tests.catalogue.freeze import HERE, TABLE, table
from tests.catalogue.providers import SOURCES
from tests.catalogue.sample import GENAI, sources

MARCH_5 = 1_772_668_800
CHEAP = {"input": 1, "output": 2}


def frozen(provider="openai", **overlay):
    """The rows of a provider, by id."""
    rows = json.loads(table(sources(**overlay), provider))["models"]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


def test_the_same_sources_give_the_same_bytes():
    """What changed in the table is what changed in its sources."""
    assert table(sources(), "openai") == table(sources(), "openai")


def test_a_row_has_what_all_sources_know():
    """Names and prices of one, limits and abilities of all, the date of the third."""
    assert frozen()["gpt-9"] == {
        "id": "gpt-9",
        "names": ["gpt-9-latest"],
        "match": [{"regex": r"^gpt-9-\d{4}$"}],
        "created": MARCH_5,
        "context_window": 1000,
        "max_output_tokens": 500,
        "supports": ["tools", "json_schema", "vision", "streaming", "prompt_caching"],
        "prices": [
            {
                "input": 2,
                "cached_input": 0.2,
                "output": 10,
                "per_request": 0.005,
                "tiers": [{"above": 272000, "input": 4, "cached_input": 0.2, "output": 15}],
                "service_tiers": {"flex": {"input": 1, "cached_input": 0.2, "output": 5}},
            }
        ],
    }


def test_a_name_is_the_first_model_s_that_claims_it():
    """As the source itself decides."""
    rows = frozen()

    assert "gpt-9-latest" in rows["gpt-9"]["names"]
    assert "names" not in rows["gpt-9-mini"]


def test_prices_of_the_past_are_left_out_and_those_announced_are_kept():
    """From their day on."""
    assert frozen()["gpt-9-mini"]["prices"] == [
        CHEAP,
        {"input": 3, "output": 4, "since": "2026-12-01"},
    ]


def test_prices_of_hours_come_after_the_usual_one():
    """So that the last one that holds is the right one; the dearer table is no better then."""
    assert frozen()["gpt-peak"]["prices"] == [
        CHEAP,
        {"input": 2, "output": 4, "hours": ["01:00", "04:30"]},
    ]


def test_clauses_that_must_all_hold_are_one():
    """In lower case, as names are compared."""
    assert frozen()["gpt-peak"]["match"] == [{"starts_with": "gpt-peak", "contains": "k"}]


@pytest.mark.parametrize("name", ["gpt-9-image", "gpt-9-draws", "gpt-9-tts", "gpt-draw", "other"])
def test_what_is_not_text_is_left_out(name):
    """By its name, by what its prices count, by its mode; and other providers' models."""
    assert name not in frozen()


def test_a_price_finer_than_a_nano_usd_is_rounded_up():
    """Never down."""
    assert frozen()["gpt-fine"]["prices"] == [{"input": 1e-09, "output": 1}]


def test_of_two_prices_the_dearer_one_holds():
    """For the model, and for a single name of it, which gets a row of its own."""
    rows = frozen()

    assert rows["gpt-old"]["prices"] == [CHEAP]
    assert rows["gpt-9-dear"]["prices"] == [{"input": 5, "output": 20}]
    assert rows["gpt-9"]["prices"][0]["input"] == 2


def test_a_row_is_called_what_the_provider_calls_the_model():
    """The name that the other table knows; the short one still finds it."""
    rows = frozen()

    assert "short" not in rows
    assert rows["short-2511"]["names"] == ["short"]
    assert rows["short-2511"]["created"] == 1_761_955_200


def test_retired_models_are_known_but_not_listed():
    """Somebody may still use their names; what is over and nowhere priced is left out."""
    rows = frozen()

    assert rows["gpt-old"]["listed"] is False
    assert "gpt-gone" not in rows
    assert rows["free"]["listed"] is False
    assert "listed" not in rows["gpt-9"]


def test_a_model_of_the_second_table_alone_has_its_price():
    """Tiers, classes of service, the fee and the hour's cache included; batches are not ours."""
    assert frozen()["gpt-new"]["prices"] == [
        {
            "input": 1,
            "cached_input": 0.1,
            "cache_write_1h": 4,
            "output": 2,
            "per_request": 0.01,
            "tiers": [
                {"above": 200000, "input": 3, "cached_input": 0.1, "cache_write_1h": 4, "output": 2}
            ],
            "service_tiers": {
                "flex": {"input": 0.5, "cached_input": 0.1, "cache_write_1h": 4, "output": 2}
            },
        }
    ]


def test_nothing_is_free_because_a_table_says_zero():
    """An unknown price is left out, it is never 0."""
    rows = frozen()

    assert "prices" not in rows["gpt-zero"]
    assert "prices" not in rows["free"]


def test_what_openrouter_calls_free_is_free():
    """There it is the name of a price."""
    rows = frozen("openrouter")

    assert rows["a/b:free"]["prices"] == [{"input": 0, "output": 0}]
    assert rows["b"]["listed"] is False


def test_storing_comes_on_top_of_reading():
    """A rate for writing below that of input is a surcharge."""
    assert frozen("openrouter")["b"]["prices"][0]["cache_write"] == 2.5


def test_embeddings_have_no_price_of_output():
    """In either table."""
    rows = frozen()

    for name in ("text-embed-9", "text-embed-10"):
        assert rows[name]["supports"] == ["embeddings"]
        assert rows[name]["prices"] == [{"input": 0.1}]


def test_caching_is_supported_where_it_has_a_price():
    """A flag alone is entered by hand and often wrong."""
    assert frozen()["gpt-9-mini"]["supports"] == ["streaming"]


def test_a_fine_tuned_model_is_found_by_its_beginning():
    """It is nobody's to be listed."""
    row = frozen()["ft:gpt-9-2026"]

    assert row["match"] == [{"starts_with": "ft:gpt-9-2026:"}]
    assert row["listed"] is False


def test_at_huggingface_a_price_is_the_partner_s():
    """The model alone goes to whoever is fastest, so that its price is unknown."""
    rows = frozen("huggingface")

    assert "prices" not in rows["Org/M"]
    assert rows["Org/M:groq"]["prices"] == [CHEAP]


def test_the_overlay_has_the_last_word():
    """It changes rows, adds some, drops some, and takes names from one table to the other."""
    said = [
        {"ids": ["gpt-9"], "set": {"created": 7}},
        {"ids": ["gpt-10"], "is_new": True, "set": {"supports": ["tools"]}},
        {"ids": ["gpt-old"], "is_dropped": True},
    ]
    rows = frozen(
        rows={"openai": said}, as_litellm={"openai": [{"ids": ["short-2511"], "because": "x"}]}
    )

    assert rows["gpt-9"]["created"] == 7
    assert rows["gpt-10"] == {"id": "gpt-10", "supports": ["tools"]}
    assert "gpt-old" not in rows
    assert rows["short-2511"]["prices"] == [{"input": 0.5, "output": 0.5}]


def test_a_correction_of_nothing_is_an_error():
    """When a source has put it right, the overlay gets shorter."""
    with pytest.raises(KeyError):
        frozen(rows={"openai": [{"ids": ["gpt-nothing"], "set": {}}]})


def test_a_file_without_providers_is_refused():
    """A source that changed its shape is noticed, not read as empty."""
    with pytest.raises(ValueError, match="used to be"):
        genai.read(GENAI.replace("providers:", "suppliers:"))


# ------------------------------------------------------------------------------- what is committed


def test_every_provider_has_its_sources():
    """The sandbox is ours and has no table."""
    assert {*SOURCES, "sandbox"} == set(PROVIDERS)


def test_the_committed_table_is_of_the_overlay_s_day():
    """Both are written together."""
    overlay = yaml.safe_load((HERE / "overlay.yaml").read_text(encoding="utf-8"))

    assert isinstance(overlay["date"], date)
    for provider in SOURCES:
        assert catalogue.source(provider) == f"catalogue:{overlay['date']}"


def test_every_correction_has_its_reason():
    """A table nobody can explain cannot be trusted."""
    overlay = yaml.safe_load((HERE / "overlay.yaml").read_text(encoding="utf-8"))
    said = [
        each
        for part in ("rows", "as_litellm")
        for every in overlay[part].values()
        for each in every
    ]

    assert said
    assert all(each["because"].endswith(".") for each in said)


def test_notices_name_the_versions_that_are_read():
    """And hold every source's licence, as it asks."""
    notices = (TABLE / "NOTICES.md").read_text(encoding="utf-8")
    pinned = (HERE / "sources.in").read_text(encoding="utf-8")
    locked = (HERE / "sources.lock").read_text(encoding="utf-8")

    for name, version in re.findall(r"^([\w-]+)==(\S+)$", pinned, re.MULTILINE):
        assert f"{name} {version}" in notices
        assert f"{name}=={version} \\" in locked
        assert f"\n## {name}, https://" in notices
    assert notices.count("Permission is hereby granted") == 3


def test_the_committed_table_is_modest():
    """It is shipped with every image."""
    sizes = [path.stat().st_size for path in Path(TABLE).iterdir()]

    assert sum(sizes) < 700_000
