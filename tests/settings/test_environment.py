"""What variables and flags say beside the file, and which providers that turns on."""

import pytest

from ringside_proxy.settings.environment import CONVENTIONAL, OVERRIDES, apply_overrides
from ringside_proxy.settings.field_types import PROVIDERS
from ringside_proxy.settings.load import load
from ringside_proxy.settings.problems import SettingsError


@pytest.mark.parametrize(("variable", "key"), OVERRIDES.items())
def test_variable_wins_over_the_file(load_text, variable, key):
    """Of the keys that a container sets from outside."""
    given = {"host": "::1", "port": "0", "url": "sqlite:///x.db", "level": "error"}[key[1]]
    settings = load_text("server: {port: 1}\nadmin: {port: 2}\nstore:\nlog:", **{variable: given})

    assert str(getattr(getattr(settings, key[0]), key[1])) == given


def test_flags_win_over_variables():
    """Command line, then environment, then file; the environment given is left alone."""
    env = {"RINGSIDE_HOST": "::1", "RINGSIDE_PORT": "1"}

    settings = load(None, apply_overrides(env, port=0))

    assert (settings.server.host, settings.server.port) == ("::1", 0)
    assert env == {"RINGSIDE_HOST": "::1", "RINGSIDE_PORT": "1"}


def test_bad_override_names_its_variable(load_text):
    """Whoever set it has to find it."""
    with pytest.raises(SettingsError) as refused:
        load_text("", RINGSIDE_PORT="http")

    assert str(refused.value) == (
        'server.port: "${RINGSIDE_PORT}" is not allowed; write a whole number from 0 to 65535'
    )


@pytest.mark.parametrize(
    "provider", [name for name in PROVIDERS if name not in {"ollama", "sandbox"}]
)
def test_provider_is_on_with_its_usual_variables(provider):
    """And the sandbox is off, for something real is there."""
    variables = {
        "azure": ["AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"],
        "bedrock": ["AWS_BEARER_TOKEN_BEDROCK", "AWS_REGION"],
    }
    first = next(value for name, _, value in CONVENTIONAL if name == provider)
    env = dict.fromkeys(variables.get(provider, [first.strip("${}")]), "https://x")

    settings = load(None, env)

    assert list(settings.providers) == [provider]
    assert settings.providers[provider].api_key == "https://x"


@pytest.mark.parametrize(
    ("text", "env", "on"),
    [
        ("", {"OPENAI_API_KEY": ""}, ["sandbox"]),
        ("", {"AZURE_OPENAI_API_KEY": "k"}, ["sandbox"]),
        ("", {"AWS_REGION": "eu-west-1"}, ["sandbox"]),
        ("providers:", {"OPENAI_API_KEY": "k"}, ["openai"]),
        ("providers: {sandbox: }", {"OPENAI_API_KEY": "k"}, ["openai", "sandbox"]),
        ("providers: {openai: {}}", {}, ["sandbox"]),
        ("providers: {openai: {api_key: '${K:-}'}}", {}, ["sandbox"]),
        ("providers: {openai: {api_key: '${K:-}'}}", {"OPENAI_API_KEY": "k"}, ["sandbox"]),
        ("providers: {openai: {max_retries: 0}}", {"OPENAI_API_KEY": "k"}, ["openai"]),
        ("providers: {ollama: {}}", {}, ["ollama"]),
        ("providers: {azure: {api_key: k, base_url: 'http://x'}}", {}, ["azure"]),
        ("providers: {azure: {api_key: k, endpoint: 'http://x'}}", {}, ["azure"]),
    ],
)
def test_provider_is_on_when_it_has_what_it_needs(load_text, text, env, on):
    """An empty key switches off; the file wins over the usual variable."""
    assert list(load_text(text, **env).providers) == on


def test_google_prefers_the_variable_that_its_sdk_prefers():
    """GOOGLE_API_KEY over GEMINI_API_KEY when both are set."""
    settings = load(None, {"GEMINI_API_KEY": "gemini", "GOOGLE_API_KEY": "google"})

    assert settings.providers["google"].api_key == "google"
