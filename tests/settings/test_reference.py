"""The files in `config/` say what the code does."""

import json
import re
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
import yaml

from ringside_proxy.settings.environment import OVERRIDES
from ringside_proxy.settings.load import load
from ringside_proxy.settings.problems import SettingsError
from ringside_proxy.settings.reference import json_schema, reference_yaml
from ringside_proxy.settings.schema import ConfigFile
from ringside_proxy.settings.shapes import Entries, Items, Nullable, Section, fields_of
from ringside_proxy.settings.values import TokenHash

CONFIG = Path(__file__).parents[2] / "config"
REFERENCE = CONFIG / "ringside.reference.yaml"
DEFAULT = CONFIG / "ringside.yaml"
SCHEMA = CONFIG / "ringside.schema.json"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what a container listens on
BELOW = {Nullable: "shape", Items: "item", Entries: "value"}


def every_field(cls):
    """All keys of a section and of those below it."""
    for field in fields_of(cls):
        yield field
        shape = field.shape
        while isinstance(shape, Nullable | Items | Entries):
            shape = getattr(shape, BELOW[type(shape)])
        if isinstance(shape, Section):
            yield from every_field(shape.cls)


def uncommented() -> str:
    """The reference with every example in effect: a key's # has no space behind it."""
    return re.sub(r"^( *)#(?=[^ \n#])", r"\1", REFERENCE.read_text(encoding="utf-8"), flags=re.M)


def test_derived_files_are_up_to_date():
    """After a change of the schema: `python -m ringside_proxy.settings.reference`."""
    assert REFERENCE.read_text(encoding="utf-8") == reference_yaml()
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json_schema()


def test_reference_is_the_defaults():
    """Loading it changes nothing."""
    reference = load(REFERENCE, {})

    assert msgspec.structs.replace(reference, not_in_effect=()) == load(None, {})


def test_every_key_is_explained_and_named_in_the_reference():
    """With a sentence of its own."""
    text = REFERENCE.read_text(encoding="utf-8")
    fields = list(every_field(ConfigFile))

    assert len(fields) > 80
    for field in fields:
        assert re.search(rf"^ *#?{field.key}:", text, re.M), field.key
        assert field.description.endswith("."), field.key
    for variable in OVERRIDES:
        assert variable in text


def test_every_example_of_the_reference_can_be_taken():
    """All at once they only clash where one stands for another."""
    taken = yaml.safe_load(uncommented())

    assert list(taken["providers"]["azure"]["deployments"]) == ["gpt4"]
    jsonschema_rs.validator_for(json_schema()).validate(taken)


def test_examples_clash_only_where_one_stands_for_another(tmp_path):
    """A token's two spellings, a customer for a role that has none, Ollama's number at another;
    and no machine has the files.
    """
    path = tmp_path / "ringside.yaml"
    path.write_text(uncommented(), encoding="utf-8")

    with pytest.raises(SettingsError) as refused:
        load(path, {})

    missing = [p.path for p in refused.value.problems if "cannot be read" in p.what]
    assert missing == ["server.tls.cert", "server.tls.key", "server.tls.client_ca"]
    assert [str(p) for p in refused.value.problems if p.path not in missing] == [
        "auth.tokens[0].token: is given beside token_sha256; keep one of them",
        "auth.tokens[0].customer: belongs to client tokens; write role: client",
        "providers.azure.num_ctx: belongs to ollama; remove it",
    ]


def test_default_file_serves_on_localhost():
    """`make run`: the token of the README, the sandbox, and a slot."""
    settings = load(DEFAULT, {})

    assert settings.server.host == "127.0.0.1"
    assert settings.auth.tokens[0].sha256 == TokenHash.of("ko_localhost")
    assert settings.store.path == Path("data/ringside.db")
    assert list(settings.providers) == ["sandbox"]
    assert settings.not_in_effect == ()


def test_default_file_is_not_opened_to_others_by_accident():
    """Its well-known token is refused beyond loopback, one of the owner's is not."""
    with pytest.raises(SettingsError, match="ko_localhost, which everyone knows"):
        load(DEFAULT, {"RINGSIDE_HOST": EVERYWHERE})

    assert load(DEFAULT, {"RINGSIDE_HOST": EVERYWHERE, "RINGSIDE_TOKEN": "ko_mine"})


@pytest.mark.parametrize("path", [DEFAULT, REFERENCE], ids=lambda path: path.name)
def test_editors_accept_the_files(path):
    """And find their schema by the first line."""
    text = path.read_text(encoding="utf-8")

    assert text.startswith(f"# yaml-language-server: $schema=./{SCHEMA.name}\n")
    jsonschema_rs.validator_for(json_schema()).validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "server: {prot: 1}",
        "server: {port: 70000}",
        "server: {drain: 20}",
        "providers: {grok: {}}",
        "slots: {fast: gpt-4o}",
        "auth: {tokens: [{token: x}]}",
        "log: {level: verbose}",
    ],
)
def test_editors_refuse_what_the_proxy_refuses(text):
    """Names, bounds, units and required keys."""
    assert not jsonschema_rs.validator_for(json_schema()).is_valid(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "server: {port: '${PORT:-8080}', drain: '${DRAIN}'}",
        "slots: {fast: 'fc:openai/x'}",
        "slots: {fast: {model: '${MODEL}', params: {a: [1]}}}",
        "webhooks: [{url: 'https://x', secret: 'file:/run/s', events: ['*']}]",
        "providers:",
    ],
)
def test_editors_accept_every_way_of_writing(text):
    """Variables, secret files, short forms, and sections left empty."""
    jsonschema_rs.validator_for(json_schema()).validate(yaml.safe_load(text))
