"""`make live`: the contract against whatever real keys are in the environment.

It costs money, a little: cheap models, few and short calls. What passes is written, with the day,
into the file that the compatibility matrix is made of. It is part of no test run.

    make live                                    every provider that has a key
    make live ARGS="--only groq,google"          some of them
    make live ARGS="-c ringside.yaml"            with a configuration's keys and addresses
    RINGSIDE_LIVE_MODEL_AZURE=gpt4 make live     another model, or a deployment
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp
import yaml

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.verification import Against
from ringside_proxy.services.compatibility import TYPICAL_MODELS
from ringside_proxy.settings.load import load
from ringside_proxy.settings.schema import Settings
from tests.contract.cases import CALLS_MAX, CASES, OUTPUT_TOKENS_MAX, REASONING_TOKENS_MAX, Case
from tests.contract.evidence import VERIFIED, record
from tests.e2e.calls import Calls
from tests.e2e.ringside import TOKEN, serving

CHEAP_MODELS: Final = {
    **TYPICAL_MODELS,
    "openai": "gpt-4.1-nano",
    "anthropic": "claude-haiku-4-5",
    "google": "gemini-3.5-flash-lite",
    "mistral": "mistral-small-latest",
    "cohere": "command-r7b-12-2024",
    "groq": "openai/gpt-oss-20b",
    "together": "openai/gpt-oss-20b",
    "fireworks": "accounts/fireworks/models/gpt-oss-20b",
    "openrouter": "openai/gpt-4.1-nano",
    "ollama": "qwen3-vl:8b",
    "bedrock": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "huggingface": "openai/gpt-oss-20b",
    "replicate": "meta/meta-llama-3-8b-instruct",
}
MODEL_VARIABLE: Final = "RINGSIDE_LIVE_MODEL_{}"
CASE_S_MAX: Final = 180.0
OWN: Final = """\
server: {{port: 0}}
models: {{refresh: null}}
admin: {{port: 0}}
store: {{url: "sqlite:///{store}"}}
auth: {{tokens: [{{name: app, token: {token}}}]}}
"""


def main(args: list[str], env: Mapping[str, str]) -> int:
    """Tries every provider that can be tried; 1 if one fails."""
    options = _options(args)
    settings = load(Path(options.config) if options.config else None, env)
    models = {n: env.get(MODEL_VARIABLE.format(n.upper()), m) for n, m in CHEAP_MODELS.items()}
    wanted = options.only.split(",") if options.only else [*TYPICAL_MODELS]
    tried = [name for name in wanted if name in settings.providers]
    for name in wanted:
        if name not in tried:
            print(f"{name}: skipped, it has no key here")
    if not tried:
        print("nothing was tried: set OPENAI_API_KEY, GROQ_API_KEY or the like, or give -c FILE")
        return 0
    most = CALLS_MAX * OUTPUT_TOKENS_MAX + REASONING_TOKENS_MAX
    print(f"at each provider at most {CALLS_MAX} calls, {most} tokens of output in all")
    config = OWN + _providers(options.config)
    with (
        tempfile.TemporaryDirectory() as home,
        serving(Path(home), config, _plain(env)) as ringside,
    ):
        failed = asyncio.run(_try_all(ringside.url, tried, models))
    _note(options, settings, [name for name in tried if name not in failed], models)
    return 1 if failed else 0


def _options(args: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make live", description=__doc__)
    parser.add_argument("-c", "--config", help="a configuration whose providers: are used")
    parser.add_argument("--only", help="names of providers, with commas between them")
    parser.add_argument("--record", type=Path, default=VERIFIED, help="the file to write into")
    parser.add_argument(
        "--record-as", help="what to call it where the addresses are not the vendors'"
    )
    return parser.parse_args(args)


def _providers(config: str | None) -> str:
    """The part of a configuration that is used, in which nothing is to be filled in."""
    document = yaml.safe_load(Path(config).read_text()) if config else None
    providers = (document or {}).get("providers")
    if not providers:
        return ""
    return yaml.safe_dump({"providers": providers}).replace("{", "{{").replace("}", "}}")


def _plain(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would move this server's store or port."""
    return {name: value for name, value in env.items() if not name.startswith("RINGSIDE_")}


async def _try_all(url: str, providers: list[str], models: Mapping[str, str]) -> set[str]:
    """The providers that failed a case."""
    failed: set[str] = set()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        calls = Calls(url, session, models)
        for provider in providers:
            able = PROVIDERS[provider].capabilities(models[provider])
            for case in CASES:
                if not case.fits(able):
                    print(f"{provider} {models[provider]}: {case.name}: skipped, it cannot")
                elif not await _passes(calls, provider, case):
                    failed.add(provider)
    return failed


async def _passes(calls: Calls, provider: str, case: Case) -> bool:
    began_s, trouble = time.monotonic(), ""
    try:
        async with asyncio.timeout(CASE_S_MAX):
            await case.check(calls, provider)
    except (AssertionError, TimeoutError, aiohttp.ClientError, LookupError, ValueError) as error:
        trouble = f"{type(error).__name__} {error}".partition("\n")[0]
    took_s = time.monotonic() - began_s
    ends = f"FAILED: {trouble}" if trouble else "ok"
    print(f"{provider} {calls.models[provider]}: {case.name}: {ends} ({took_s:.1f} s)", flush=True)
    return not trouble


def _note(
    options: argparse.Namespace, settings: Settings, passed: list[str], models: Mapping[str, str]
) -> None:
    """Records what passed; an address that is not the vendor's own is no evidence of it."""
    elsewhere = [name for name in passed if not _is_vendors_own(settings, name)]
    shown = {name: models[name] for name in passed if name not in elsewhere}
    today = datetime.now(UTC).date().isoformat()
    if shown:
        record(options.record, shown, Against.LIVE.value, today)
    if elsewhere and options.record_as:
        record(options.record, {n: models[n] for n in elsewhere}, options.record_as, today)
    elif elsewhere:
        print(f"not recorded, since base_url is not the vendor's: {', '.join(elsewhere)}")


def _is_vendors_own(settings: Settings, name: str) -> bool:
    address = settings.providers[name].base_url
    vendors = ".amazonaws.com" if name == "bedrock" else ".azure.com"
    return address is None or PROVIDERS[name].base_url == address or vendors in address


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
