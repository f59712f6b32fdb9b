"""What differs between two configurations, without their secrets."""

from pathlib import Path

import pytest

from ringside_proxy.settings.changes import changes
from ringside_proxy.settings.load import load
from ringside_proxy.settings.schema import Settings


def settings(tmp_path: Path, text: str) -> Settings:
    """What a file with this text makes."""
    path = tmp_path / "ringside.yaml"
    path.write_text(text)
    return load(path, {})


@pytest.mark.parametrize(
    ("before", "after", "path", "text"),
    [
        ("{}", "runs: {expires_after: 5m}", "runs.expires_after", "600 → 300"),
        ("{}", "slots: {a: fc:sandbox/echo}", "slots.a.model", '(none) → "fc:sandbox/echo"'),
        ("slots: {a: fc:sandbox/echo}", "{}", "slots.a.model", '"fc:sandbox/echo" → (none)'),
        ("{}", "auth: {required: false}", "auth.required", "true → false"),
        (
            "providers: {openai: {api_key: sk-old}}",
            "providers: {openai: {api_key: sk-new}}",
            "providers.openai.api_key",
            "(secret) → (secret)",
        ),
        (
            "auth: {tokens: [{name: app, token: old}]}",
            "auth: {tokens: [{name: app, token: new}]}",
            "auth.tokens.app.token",
            "(secret) → (secret)",
        ),
        (
            f"auth: {{tokens: [{{name: app, token_sha256: '{'0' * 64}'}}]}}",
            f"auth: {{tokens: [{{name: app, token_sha256: '{'1' * 64}'}}]}}",
            "auth.tokens.app.token_sha256",
            "(secret) → (secret)",
        ),
        (
            "providers: {openai: {api_key: k, base_url: 'https://user:pw@one/v1?key=x'}}",
            "providers: {openai: {api_key: k, base_url: 'https://user:pw@two/v1?key=x'}}",
            "providers.openai.base_url",
            '"https://one/…" → "https://two/…"',
        ),
        (
            "providers: {openai: {api_key: k, base_url: 'http://u:p@[::1]:9001/v1?key=x'}}",
            "providers: {openai: {api_key: k, base_url: 'http://u:p@[::1]:9002/v1?key=x'}}",
            "providers.openai.base_url",
            '"http://[::1]:9001/…" → "http://[::1]:9002/…"',
        ),
        (
            "store: {url: 'sqlite:///a.db'}",
            "store: {url: 'sqlite:////data/b.db'}",
            "store.url",
            '"sqlite:///a.db" → "sqlite:////data/b.db"',
        ),
    ],
)
def test_change_names_its_key_and_hides_secrets(
    tmp_path: Path, before: str, after: str, path: str, text: str
) -> None:
    """The path as in the file, both values, and nothing that opens a door."""
    [change] = changes(settings(tmp_path, before), settings(tmp_path, after))

    assert (change.path, change.text) == (path, text)


def test_every_difference_is_named(tmp_path: Path) -> None:
    """Several at once, each once; what is equal is not named."""
    old = settings(tmp_path, "log: {level: info}\nslots: {a: fc:sandbox/echo, b: fc:sandbox/echo}")
    new = settings(tmp_path, "log: {level: debug}\nslots: {a: fc:sandbox/echo, c: fc:sandbox/echo}")

    assert {change.path for change in changes(old, new)} == {
        *("log.level", "slots.b.model", "slots.c.model")
    }


def test_equal_configurations_have_no_difference(tmp_path: Path) -> None:
    """The same text twice."""
    text = "slots: {a: {model: fc:sandbox/echo, params: {temperature: 0.2, stop: [a, b]}}}"

    assert changes(settings(tmp_path, text), settings(tmp_path, text)) == []
