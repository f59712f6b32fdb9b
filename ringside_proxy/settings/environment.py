"""What the environment and the command line say beside the file.

Both become `${NAME}` references in the document, laid over it before it is read: so they are
checked like anything written there, and a problem names the variable.
"""

from collections.abc import Mapping
from typing import Final

from ringside_proxy.domain.master_keys import decode_key
from ringside_proxy.settings.document import Node, Scalar
from ringside_proxy.settings.interpolation import PLACEHOLDER, InterpolationError, expand
from ringside_proxy.settings.problems import Problem
from ringside_proxy.settings.values import Secret

OVERRIDES: Final[dict[str, tuple[str, str]]] = {
    "RINGSIDE_HOST": ("server", "host"),
    "RINGSIDE_PORT": ("server", "port"),
    "RINGSIDE_ADMIN_HOST": ("admin", "host"),
    "RINGSIDE_ADMIN_PORT": ("admin", "port"),
    "RINGSIDE_STORE_URL": ("store", "url"),
    "RINGSIDE_LOG_LEVEL": ("log", "level"),
}
"""Variable → the key of the file that it wins over."""

CONVENTIONAL: Final[tuple[tuple[str, str, str], ...]] = (
    ("openai", "api_key", "${OPENAI_API_KEY}"),
    ("anthropic", "api_key", "${ANTHROPIC_API_KEY}"),
    ("google", "api_key", "${GOOGLE_API_KEY}"),  # before GEMINI_API_KEY, as in Google's SDK
    ("google", "api_key", "${GEMINI_API_KEY}"),
    ("mistral", "api_key", "${MISTRAL_API_KEY}"),
    ("cohere", "api_key", "${CO_API_KEY}"),
    ("cohere", "api_key", "${COHERE_API_KEY}"),
    ("groq", "api_key", "${GROQ_API_KEY}"),
    ("together", "api_key", "${TOGETHER_API_KEY}"),
    ("fireworks", "api_key", "${FIREWORKS_API_KEY}"),
    ("perplexity", "api_key", "${PERPLEXITY_API_KEY}"),
    ("perplexity", "api_key", "${PERPLEXITYAI_API_KEY}"),
    ("deepseek", "api_key", "${DEEPSEEK_API_KEY}"),
    ("xai", "api_key", "${XAI_API_KEY}"),
    ("cerebras", "api_key", "${CEREBRAS_API_KEY}"),
    ("sambanova", "api_key", "${SAMBANOVA_API_KEY}"),
    ("openrouter", "api_key", "${OPENROUTER_API_KEY}"),
    ("azure", "api_key", "${AZURE_OPENAI_API_KEY}"),
    ("azure", "endpoint", "${AZURE_OPENAI_ENDPOINT}"),
    ("bedrock", "api_key", "${AWS_BEARER_TOKEN_BEDROCK}"),
    ("bedrock", "base_url", "https://bedrock-runtime.${AWS_REGION}.amazonaws.com"),
    ("bedrock", "base_url", "https://bedrock-runtime.${AWS_DEFAULT_REGION}.amazonaws.com"),
    ("bedrock", "access_key_id", "${AWS_ACCESS_KEY_ID}"),
    ("bedrock", "secret_access_key", "${AWS_SECRET_ACCESS_KEY}"),
    ("bedrock", "session_token", "${AWS_SESSION_TOKEN}"),
    ("huggingface", "api_key", "${HF_TOKEN}"),
    ("replicate", "api_key", "${REPLICATE_API_TOKEN}"),
)
"""Provider, key, value: used where the file gives no such key; the first that is set counts."""


MASTER_KEYS: Final = "RINGSIDE_MASTER_KEYS"
"""Keys that seal the secrets in the store, with commas between them; the first one seals."""


def master_keys(env: Mapping[str, str]) -> tuple[tuple[Secret, ...], list[Problem]]:
    """The master keys, and what is wrong with them. `file:/path` reads them from a mounted file."""
    if not env.get(MASTER_KEYS):
        return (), []
    try:
        texts = [text.strip() for text in expand(f"${{{MASTER_KEYS}}}", env).split(",")]
    except InterpolationError as error:
        return (), [Problem(MASTER_KEYS, error.what, error.remedy)]
    remedy = "make one with: openssl rand -base64 32"
    problems = [
        Problem(MASTER_KEYS, f"key {number} is not 32 bytes in base64", remedy)
        for number, text in enumerate(texts, start=1)
        if decode_key(text) is None
    ]
    return tuple(map(Secret, texts)), problems


def apply_overrides(
    env: Mapping[str, str],
    *,
    host: str | None = None,
    port: int | None = None,
) -> dict[str, str]:
    """The environment with command line flags in it; they win over both it and the file."""
    flags = {"RINGSIDE_HOST": host, "RINGSIDE_PORT": port}
    return dict(env) | {name: str(flag) for name, flag in flags.items() if flag is not None}


def lay_over(document: dict[str, Node], env: Mapping[str, str]) -> dict[str, Node]:
    """The document with what the environment adds; the one given is not changed."""
    laid = dict(document)
    for variable, (section, key) in OVERRIDES.items():
        if env.get(variable):
            _set(laid, section, key, f"${{{variable}}}")
    laid["providers"] = providers = _copied(laid.get("providers"))
    if isinstance(providers, dict):
        for provider, key, value in CONVENTIONAL:
            if all(env.get(name) for name, _ in PLACEHOLDER.findall(value)):
                _set(providers, provider, key, value, is_default=True)
    return laid


def _set(
    sections: dict[str, Node], section: str, key: str, value: str, *, is_default: bool = False
) -> None:
    """Put a value into a section, unless the section is no mapping: that is noted elsewhere."""
    sections[section] = entries = _copied(sections.get(section))
    if isinstance(entries, dict) and not (is_default and key in entries):
        entries[key] = Scalar(value)


def _copied(node: Node | None) -> Node:
    if node is None or (isinstance(node, Scalar) and node.is_null):
        return {}
    return dict(node) if isinstance(node, dict) else node
