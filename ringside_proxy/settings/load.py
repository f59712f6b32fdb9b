"""The file and the environment → one frozen Settings, or every problem at once."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final, cast

import msgspec

from ringside_proxy.settings.decode import Decoder
from ringside_proxy.settings.document import DOCUMENT_BYTES_MAX, Node, Scalar, parse
from ringside_proxy.settings.environment import lay_over, master_keys
from ringside_proxy.settings.field_types import PROVIDERS
from ringside_proxy.settings.interpolation import named_file, plain_path
from ringside_proxy.settings.prices import PriceSettings
from ringside_proxy.settings.problems import Problem, SettingsError
from ringside_proxy.settings.schema import (
    LOCAL_TOKEN,
    AuthSettings,
    ConfigFile,
    ProviderSettings,
    ServerSettings,
    Settings,
)
from ringside_proxy.settings.values import TokenHash

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "azure": ("api_key", "endpoint"),
    "bedrock": ("api_key", "base_url"),
    "ollama": (),
    "sandbox": (),
}
"""What a provider is on with; of the others an API key is enough."""

BELONGS_TO: Final = {
    "endpoint": "azure",
    "deployments": "azure",
    "access_key_id": "bedrock",
    "secret_access_key": "bedrock",
    "session_token": "bedrock",
    "region": "bedrock",
    "organization": "openai",
    "project": "openai",
    "bill_to": "huggingface",
    "referer": "openrouter",
    "title": "openrouter",
    "num_ctx": "ollama",
}
"""Keys that one provider alone has."""


def load(
    path: Path | None, env: Mapping[str, str], *, refuses_nothing_written: bool = False
) -> Settings:
    """The settings of a file, or the built-in ones. Raises SettingsError.

    `refuses_nothing_written`: an empty file is a problem. What counts is what was read: a writer
    may have emptied the file just before.
    """
    content = _content(path) if path is not None else b""
    if refuses_nothing_written and not content:
        raise SettingsError([Problem(str(path), "is empty", "write {} for the defaults")])
    document = parse(content)
    decoder = Decoder(env)
    # A section has defaults for all keys, so that the file as a whole cannot be UNSET.
    given = cast("ConfigFile", decoder.section(lay_over(document, env), ConfigFile))
    noted = decoder.problems
    # A list of which an item could not be read is not also called empty.
    faults = (
        fault
        for fault in _faults(given, document)
        if not any(problem.path.startswith(fault.path) for problem in noted)
    )
    keys, key_problems = master_keys(env)
    problems = [*noted, *faults, *key_problems]
    if problems:
        raise SettingsError(problems)
    sections = msgspec.structs.asdict(given) | {"providers": _switched_on(given)}
    return Settings(**sections, master_keys=keys)


def secret_files(path: Path, env: Mapping[str, str]) -> frozenset[Path]:
    """The files that a configuration names as `file:/…`. Raises SettingsError if it has no sense."""
    return frozenset(_named_files(lay_over(parse(_content(path)), env), env))


def certificate_files(path: Path, env: Mapping[str, str]) -> frozenset[Path]:
    """The files of `server.tls`, which may be renewed. Raises SettingsError as `secret_files`."""
    node: Node = lay_over(parse(_content(path)), env)
    for key in ("server", "tls"):
        node = node.get(key, {}) if isinstance(node, dict) else {}
    names = node.values() if isinstance(node, dict) else ()
    files = (plain_path(name.text, env) for name in names if isinstance(name, Scalar))
    return frozenset(file for file in files if file is not None)


def _named_files(node: Node, env: Mapping[str, str]) -> Iterator[Path]:
    if isinstance(node, Scalar):
        named = named_file(node.text, env)
        if named is not None:
            yield named
        return
    for below in node.values() if isinstance(node, dict) else node:
        yield from _named_files(below, env)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(DOCUMENT_BYTES_MAX + 1)
    except OSError as error:
        problem = Problem(str(path), f"cannot be read: {error.strerror}", "name a readable file")
        raise SettingsError([problem]) from error


def _faults(given: ConfigFile, document: dict[str, Node]) -> Iterator[Problem]:
    """What is wrong between the sections."""
    yield from exposure_faults(given.server, given.auth)
    yield from _token_faults(given.auth)
    yield from _provider_faults(given.providers, document)
    yield from _price_faults(given.prices)
    ports = (given.server.port, given.admin.port)
    if ports[0] == ports[1] != 0:
        yield Problem("admin.port", f"{ports[1]} is server.port too", "choose another port")


def exposure_faults(server: ServerSettings, auth: AuthSettings) -> Iterator[Problem]:
    """An API that others can reach is never open, and not opened by a token everyone knows."""
    if _is_loopback(server.host):
        return
    reach = f"lets others than this machine in (server.host is {server.host})"
    if not auth.required:
        yield Problem("auth.required", f"false {reach}", "remove it, or listen on 127.0.0.1")
    if not auth.tokens:
        yield Problem("auth.tokens", f"is empty and {reach}", "add a token, or listen on 127.0.0.1")
    if TokenHash.of(LOCAL_TOKEN) in (token.sha256 for token in auth.tokens):
        remedy = "set RINGSIDE_TOKEN to a secret of yours, or listen on 127.0.0.1"
        yield Problem("auth.tokens", f"{LOCAL_TOKEN}, which everyone knows, {reach}", remedy)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token_faults(auth: AuthSettings) -> Iterator[Problem]:
    names: set[str] = set()
    owners: dict[str, str] = {}
    for token in auth.tokens:
        if token.name in names:
            yield Problem("auth.tokens", f'two are named "{token.name}"', "rename one of them")
        names.add(token.name)
        owner = owners.setdefault(token.sha256, token.name)
        if owner != token.name:
            yield Problem("auth.tokens", f'"{owner}" and "{token.name}" are equal', "remove one")


def _provider_faults(
    providers: Mapping[str, ProviderSettings], document: dict[str, Node]
) -> Iterator[Problem]:
    for name, provider in providers.items():
        for key, owner in BELONGS_TO.items():
            if name != owner and getattr(provider, key):
                yield Problem(f"providers.{name}.{key}", f"belongs to {owner}", "remove it")
        if name in _keys(document, "providers") and provider.api_key:
            for key in _lacking(name, provider):
                yield Problem(f"providers.{name}.{key}", "is missing", "write an http(s) address")


def _price_faults(prices: Mapping[str, PriceSettings]) -> Iterator[Problem]:
    """A * is a joker at the end alone, and a price is copied from one model."""
    for name, price in prices.items():
        if "*" in name[:-1]:
            yield Problem(f"prices.{name}", "has a * before its end", "write it at the end only")
        if price.like is not None and "*" in price.like:
            yield Problem(f"prices.{name}.like", "names more than one model", "write one model")


def _lacking(name: str, provider: ProviderSettings) -> list[str]:
    """The keys without which a provider is off. A base URL replaces an endpoint, a pair of access
    keys the API key.
    """
    lacking = {key for key in NEEDS.get(name, ("api_key",)) if getattr(provider, key) is None}
    if provider.base_url is not None:
        lacking.discard("endpoint")
    if provider.access_key_id and provider.secret_access_key:
        lacking.discard("api_key")
    return sorted(lacking)


def _switched_on(given: ConfigFile) -> dict[str, ProviderSettings]:
    """The providers that have what they need, in the order of PROVIDERS."""
    on: dict[str, ProviderSettings] = {
        name: given.providers[name]
        for name in PROVIDERS
        if name in given.providers and not _lacking(name, given.providers[name])
    }
    return on or {"sandbox": ProviderSettings()}


def _keys(document: dict[str, Node], section: str) -> list[str]:
    """The keys that the file itself gives in a section."""
    entries = document.get(section)
    return list(entries) if isinstance(entries, dict) else []
