"""What a file and the environment become, and what is said when they cannot be used."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringside_proxy.settings.load import load
from ringside_proxy.settings.problems import SettingsError
from ringside_proxy.settings.schema import LOCAL_TOKEN, Settings

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what a container listens on
DEFAULT = Path(__file__).parents[2] / "config" / "ringside.yaml"
APP = "auth: {tokens: [{name: app, token: ko_secret}]}"
MODEL = "write a model: fc:<provider>/<model>"
SECTIONS = (
    "server, admin, store, auth, providers, slots, models, budgets, rate_limits, wallet, runs, "
    "structured_output, images, webhooks, upstream, prices, log"
)
OTHERS_IN = "lets others than this machine in (server.host is 0.0.0.0)"

BAD = [
    ("serve: {}", 'serve: unknown key; did you mean "server"?'),
    ("zzz: 1", f"zzz: unknown key; known: {SECTIONS}"),
    ("server: {prot: 1}", 'server.prot: unknown key; did you mean "port"?'),
    ("server: 5", 'server: "5" is not allowed; write keys under it: host, port, max_body, drain'),
    (
        "server: {port: 70000}",
        'server.port: "70000" is not allowed; write a whole number from 0 to 65535',
    ),
    (
        "server: {port: }",
        "server.port: nothing is not allowed; write a whole number from 0 to 65535",
    ),
    (
        "server: {port: [1]}",
        "server.port: a list is not allowed; write a whole number from 0 to 65535",
    ),
    (
        "server: {drain: 20}",
        'server.drain: "20" is not allowed; write a duration from 0s to 10m',
    ),
    (
        "server: {max_body: 32MB}",
        'server.max_body: "32MB" is not allowed; write a size from 1KiB to 256MiB',
    ),
    ('server: {host: ""}', 'server.host: "" is not allowed; write a host name or address'),
    ("admin: {port: 8080}", "admin.port: 8080 is server.port too; choose another port"),
    (
        "store: {url: 'postgresql://x'}",
        'store.url: "postgresql://x" is not allowed; '
        "write sqlite:///relative/path or sqlite:////absolute/path",
    ),
    (
        "store: {synchronous: off}",
        'store.synchronous: unknown value "off"; known: full, normal',
    ),
    (
        "log: {level: '${LEVEL}'}",
        "log.level: environment variable LEVEL is not set; set it, or give a default: ${LEVEL:-…}",
    ),
    (
        "log: {level: 'file:/no/such/file'}",
        "log.level: there is no file /no/such/file; name a file that can be read",
    ),
    (
        "runs: {expires_after: 1500ms}",
        'runs.expires_after: "1500ms" is not allowed; write a duration from 1s to 24h',
    ),
    (
        "auth: {required: yes}",
        'auth.required: "yes" is not allowed; write true or false',
    ),
    (
        "auth: {tokens: {}}",
        "auth.tokens: a mapping is not allowed; write a list: […]",
    ),
    (
        "auth: {tokens: [{name: a}]}",
        "auth.tokens[0].token: is missing; write token or token_sha256",
    ),
    (
        "auth: {tokens: [{token: a}]}",
        "auth.tokens[0].name: is missing; "
        "write up to 64 letters, digits and _ . -, for example app",
    ),
    (
        "auth: {tokens: [{name: a, token: 'ko secret'}]}",
        "auth.tokens[0].token: the value (not shown) is not allowed; "
        "write printable ASCII without spaces",
    ),
    (
        "auth: {tokens: [{name: a, token_sha256: abc}]}",
        'auth.tokens[0].token_sha256: "abc" is not allowed; write 64 hex digits in lower case',
    ),
    (
        f"auth: {{tokens: [{{name: a, token: x, token_sha256: {'0' * 64}}}]}}",
        "auth.tokens[0].token: is given beside token_sha256; keep one of them",
    ),
    (
        "auth: {tokens: [{name: a, token: x, role: client}]}",
        "auth.tokens[0].customer: is missing; name the customer of the client token",
    ),
    (
        "auth: {tokens: [{name: a, token: x, customer: c}]}",
        "auth.tokens[0].customer: belongs to client tokens; write role: client",
    ),
    (
        "auth: {tokens: [{name: a, token: x}, {name: a, token: y}]}",
        'auth.tokens: two are named "a"; rename one of them',
    ),
    (
        "auth: {tokens: [{name: a, token: x}, {name: b, token: x}]}",
        'auth.tokens: "a" and "b" are equal; remove one',
    ),
    (
        "providers: {grok: {}}",
        'providers.grok: unknown provider "grok"; did you mean "groq"?',
    ),
    (
        'providers: {openai: {api_key: "sk-1\\n"}}',
        "providers.openai.api_key: the value (not shown) is not allowed; "
        "write printable ASCII without spaces",
    ),
    (
        "providers: {openai: {base_url: localhost}}",
        'providers.openai.base_url: "localhost" is not allowed; write an http(s) address',
    ),
    (
        "providers: {openai: {endpoint: 'http://x'}}",
        "providers.openai.endpoint: belongs to azure; remove it",
    ),
    (
        "budgets: {timezone: Europe/Zürich}",
        'budgets.timezone: "Europe/Zürich" is not allowed; write a name such as UTC',
    ),
    (
        "budgets: {timezone: Europe/Zurch}",
        'budgets.timezone: "Europe/Zurch" is no time zone that this machine knows; '
        'did you mean "Europe/Zurich"?',
    ),
    (
        "webhooks: {allow_private: [10.0.0.0/8, 10.0.0.1/8]}",
        'webhooks.allow_private[1]: "10.0.0.1/8" is neither a network, an address nor a host name; '
        "write 10.0.0.0/8, 127.0.0.1 or hooks.internal",
    ),
    (
        "budgets: {timezone: Nowhere}",
        'budgets.timezone: "Nowhere" is no time zone that this machine knows; '
        "write a name such as Europe/Zurich",
    ),
    (
        "providers: {azure: {api_key: x}}",
        "providers.azure.endpoint: is missing; write an http(s) address",
    ),
    (
        "slots: {fast: gpt-4o}",
        f'slots.fast.model: "gpt-4o" is not allowed; {MODEL}',
    ),
    (
        "slots: {fast: {model: 'fc:grok/x'}}",
        'slots.fast.model: unknown provider "grok"; did you mean "groq"?',
    ),
    (
        "slots: {fast: {fallbacks: []}}",
        f"slots.fast.model: is missing; {MODEL}",
    ),
    (
        "slots: {fast: {model: 'fc:openai/x', fallbacks: ['slot:fast']}}",
        f'slots.fast.fallbacks[0]: "slot:fast" is not allowed; {MODEL}',
    ),
    (
        "slots: {fast: {model: 'fc:openai/x', params: {stream: true}}}",
        "slots.fast.params.stream: belongs to the request; remove it",
    ),
    (
        "slots: {a b: 'fc:openai/x'}",
        'slots.a b: "a b" is not allowed; write up to 64 letters, digits and _ . -',
    ),
    (
        "webhooks: [{url: 'https://x', secret: s, events: [run.complete]}]",
        'webhooks.endpoints[0].events[0]: unknown value "run.complete"; '
        'did you mean "run.completed"?',
    ),
    (
        "webhooks: [{url: 'https://x', secret: s}, {url: 'https://x', secret: t}]",
        "webhooks.endpoints[1].url: is there twice; join their events",
    ),
    (
        "webhooks: [{url: 'http://127.0.0.1:9000/', secret: s}]",
        "webhooks.endpoints[0].url: is refused: The address 127.0.0.1 is not public; use a public "
        "https address, or list its host under webhooks.allow_private",
    ),
    (
        "webhooks: [{url: 'http://hooks.internal/', secret: s}]",
        "webhooks.endpoints[0].url: is refused: The URL has to be https: plain http goes to what "
        "webhooks.allow_private lists alone; use a public https address, or list its host under "
        "webhooks.allow_private",
    ),
    (
        "webhooks: [{url: 'https://x', secret: whsec_hunter2}]",
        "webhooks.endpoints[0].secret: begins with whsec_, and what follows is not base64 of 24 to "
        "64 bytes; write whsec_$(openssl rand -base64 32), or a secret that begins otherwise",
    ),
    (
        "upstream: {url: 'http://billing/usage'}",
        "upstream.secret: is missing; write the secret that signs what is reported",
    ),
    (
        "upstream: {url: 'https://me:hunter2@billing/', secret: s}",
        "upstream.url: is refused: The URL may not hold a user name or a password; "
        "use a public https address",
    ),
    (
        "prices: {gpt-4o: {}}",
        f'prices.gpt-4o: "gpt-4o" is not allowed; {MODEL}',
    ),
    (
        "prices: {'fc:openai/x': {input: -1}}",
        'prices.fc:openai/x.input: "-1" is not allowed; write an amount in USD from 0 to 10000',
    ),
    (
        "prices: {'fc:openai/x': {output: 10001}}",
        'prices.fc:openai/x.output: "10001" is not allowed; write an amount in USD from 0 to 10000',
    ),
    (
        "prices: {'fc:openai/x': {input: .nan}}",
        'prices.fc:openai/x.input: ".nan" is not allowed; write an amount in USD from 0 to 10000',
    ),
    (
        "prices: {'fc:openai/x': {cache_read: 1}}",
        "prices.fc:openai/x.cache_read: unknown key; did you mean",
    ),
    (
        "prices: {'fc:openai/*-mini': {input: 1}}",
        "prices.fc:openai/*-mini: has a * before its end; write it at the end only",
    ),
    (
        "prices: {'fc:azure/x': {like: 'fc:openai/*'}}",
        "prices.fc:azure/x.like: names more than one model; write one model",
    ),
    (
        "prices: {'fc:openai/x': {tiers: [{above: 9}, {above: 9}]}}",
        "prices.fc:openai/x.tiers[1].above: 9 is there twice; remove one",
    ),
    (
        "prices: {'fc:openai/x': {discount_percent: 100.1}}",
        'prices.fc:openai/x.discount_percent: "100.1" is not allowed; '
        "write a percentage from 0 to 100",
    ),
    (
        "prices: {'fc:openai/x': {service_tiers: {flex: -0.5}}}",
        'prices.fc:openai/x.service_tiers.flex: "-0.5" is not allowed; write a factor from 0 to 100',
    ),
    (
        "slots: {a: {models: [fc:openai/x], fallbacks: [fc:openai/x]}}",
        "slots.a.fallbacks: fc:openai/x is there twice; remove one",
    ),
    (
        "slots: {a: {model: fc:openai/x, fallback_on: [content_policy]}}",
        "slots.a.fallback_on: has nothing to fall back on; add fallbacks, or remove it",
    ),
    (
        "slots: {a: {models: [{model: fc:openai/x, weight: 0}]}}",
        'slots.a.models[0].weight: "0" is not allowed; write a whole number from 1 to 1000',
    ),
    (
        "server: {host: 0.0.0.0}",
        f"auth.tokens: is empty and {OTHERS_IN}; add a token, or listen on 127.0.0.1",
    ),
    (
        f"server: {{host: 0.0.0.0}}\n{APP}".replace("tokens", "required: false, tokens"),
        f"auth.required: false {OTHERS_IN}; remove it, or listen on 127.0.0.1",
    ),
    (
        f"server: {{host: 0.0.0.0}}\n{APP}".replace("ko_secret", LOCAL_TOKEN),
        f"auth.tokens: ko_localhost, which everyone knows, {OTHERS_IN}; "
        "set RINGSIDE_TOKEN to a secret of yours, or listen on 127.0.0.1",
    ),
]


@pytest.mark.parametrize(("text", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_bad_config_is_told_its_problem_and_remedy(load_text, text, problem):
    """One mistake is one line: path, what is wrong, what would be right."""
    with pytest.raises(SettingsError) as refused:
        load_text(text)

    assert str(refused.value).startswith(problem)
    assert len(refused.value.problems) == 1


def test_slots_have_short_forms(load_text):
    """A model alone, a list of models, and models with weights beside plain ones."""
    slots = load_text(
        "slots:\n"
        "  a: fc:openai/x\n"
        "  b: {models: [fc:openai/x, {model: fc:groq/y, weight: 3}], fallbacks: [fc:xai/z]}\n"
        "  c: {model: fc:openai/x, models: [fc:groq/y], timeouts: {first_byte: 3s}}\n"
    ).slots

    assert (slots["a"].model, slots["a"].models) == ("fc:openai/x", ())
    assert [(each.model, each.weight) for each in slots["b"].models] == [
        ("fc:openai/x", 1),
        ("fc:groq/y", 3),
    ]
    assert slots["b"].fallbacks == ("fc:xai/z",)
    assert (slots["c"].model, slots["c"].models[0].model) == ("fc:openai/x", "fc:groq/y")
    assert (slots["c"].timeouts.first_byte_s, slots["c"].timeouts.total_s) == (3.0, None)


def test_all_problems_are_told_at_once(load_text):
    """Mistakes in different sections, of form and of meaning, are one answer."""
    text = "server: {port: x, prot: 1}\nauth: {required: false}\nadmin: {port: 0}\n"

    with pytest.raises(SettingsError) as refused:
        load_text(text, RINGSIDE_HOST=EVERYWHERE)

    assert [problem.path for problem in refused.value.problems] == [
        "server.prot",
        "server.port",
        "auth.required",
        "auth.tokens",
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("server: {host: 0.0.0.0}\nauth: {tokens: [{name: app}]}", "auth.tokens[0].token"),
        ("auth: {tokens: [{name: a, token: 'x y'}, {name: b}]}", "auth.tokens[0].token"),
        ("providers: {azure: {api_key: k, endpoint: x}}", "providers.azure.endpoint"),
    ],
)
def test_problem_leads_to_no_second_one(load_text, text, path):
    """What could not be read is not also called missing or equal."""
    with pytest.raises(SettingsError) as refused:
        load_text(text)

    problems = refused.value.problems
    assert problems[0].path == path
    assert len({problem.path for problem in problems}) == len(problems)
    assert not {"auth.tokens"} & {problem.path for problem in problems}


def test_problem_never_shows_what_a_variable_holds(load_text):
    """A key that lands in the wrong place is not printed by the complaint about it."""
    text = "log: {level: '${KEY}'}\nslots: {a: '${KEY}'}\nserver: {port: '${KEY}'}"

    with pytest.raises(SettingsError) as refused:
        load_text(text, KEY="fc:sk-1")

    assert "sk-1" not in str(refused.value)
    assert str(refused.value).count('"${KEY}"') == 3


def test_missing_file_is_a_problem(tmp_path):
    """It names the path."""
    path = tmp_path / "none.yaml"

    with pytest.raises(SettingsError) as refused:
        load(path, {})

    assert str(refused.value) == (
        f"{path}: cannot be read: No such file or directory; name a readable file"
    )


def test_variables_take_the_type_of_their_key(load_text):
    """A variable is text; a port, a truth and a number within `params` are not."""
    settings = load_text(
        "server: {port: '${PORT:-8081}', drain: '${DRAIN}'}\n"
        "auth: {required: '${AUTH}'}\n"
        "slots:\n  fast:\n    model: fc:openai/x\n    params: {a: 1, b: 0.5, c: true, d: no}\n"
        "    fallbacks: []\n",
        DRAIN="500ms",
        AUTH="False",
    )

    assert (settings.server.port, settings.server.drain_s) == (8081, 0.5)
    assert settings.auth.required is False
    assert settings.slots["fast"].params == {"a": 1, "b": 0.5, "c": True, "d": "no"}


def test_file_without_a_path_is_the_defaults():
    """No file and no variable: the sandbox, on loopback, with no token."""
    settings = load(None, {})

    assert list(settings.providers) == ["sandbox"]
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.auth.tokens == ()
    assert settings.not_in_effect == ()


def test_only_the_hash_of_a_token_is_kept(load_text):
    """Given as itself or as its hash, it is known by its hash alone."""
    digest = hashlib.sha256(b"ko_other").hexdigest()
    settings = load_text(
        "auth: {tokens: [{name: app, token: '${T}'}, "
        f"{{name: web, token_sha256: {digest}, role: client, customer: customer_42}}]}}",
        T="ko_secret",
    )

    assert [token.sha256 for token in settings.auth.tokens] == [
        hashlib.sha256(b"ko_secret").hexdigest(),
        digest,
    ]
    assert [token.role for token in settings.auth.tokens] == ["developer", "client"]
    assert "ko_secret" not in repr(settings)


def test_repr_shows_no_secret(load_text):
    """Settings may end up in a log."""
    settings = load_text(
        "providers: {openai: {api_key: canary-1}}\n"
        "webhooks: [{url: 'https://x', secret: canary-2}]\n"
        "upstream: {url: 'https://x', secret: canary-3}\n"
    )

    assert settings.providers["openai"].api_key == "canary-1"
    assert settings.webhooks.endpoints[0].secret == "canary-2"
    assert "canary" not in repr(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_token(load_text, host):
    """On the machine itself even the token that everyone knows will do, or none."""
    assert load_text(f"server: {{host: '{host}'}}\nauth: {{required: false}}")
    assert load_text(
        f"server: {{host: '{host}'}}\nauth: {{tokens: [{{name: a, token: {LOCAL_TOKEN}}}]}}"
    )


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "10.0.0.1", "proxy.internal", "127.1"])
def test_other_hosts_need_a_token_of_their_own(load_text, host):
    """A name that only may be loopback counts as reachable."""
    with pytest.raises(SettingsError, match=r"auth\.tokens: is empty"):
        load_text(f"server: {{host: '{host}'}}")

    assert load_text(f"server: {{host: '{host}'}}\n{APP}").server.host == host


@pytest.mark.parametrize(
    ("url", "path"), [("data/x.db", "data/x.db"), ("/data/x.db", "/data/x.db")]
)
def test_store_url_names_a_file(load_text, url, path):
    """Three slashes and a relative path, four and an absolute one."""
    assert load_text(f"store: {{url: 'sqlite:///{url}'}}").store.path == Path(path)


def test_money_is_held_in_nano_usd(load_text):
    """No float is on the money path."""
    settings = load_text(
        "budgets: {customers: {customer_42: {monthly_usd: 0.1}}}\n"
        "prices: {'fc:ollama/*': {input: 0, output: 0.15}}\nwallet: {markup_percent: 2.5}"
    )

    assert settings.budgets.customers["customer_42"].monthly_nano_usd == 100_000_000
    price = settings.prices["fc:ollama/*"]
    assert (price.input_nano_usd, price.output_nano_usd) == (0, 150_000_000)
    assert price.cached_input_nano_usd is None
    assert settings.wallet.markup_ppm == 25_000


def test_every_key_is_in_effect(load_text):
    """Nothing that a file may say is without effect in this version."""
    settings = load_text(
        "server: {port: 0}\nbudgets: {timezone: UTC}\nrate_limits:\nupstream: {flush_interval: 1s}\n"
        "structured_output: {stream: optimistic}\nruns: {when_busy: queue, expires_after: 45s}\n"
        "slots: {a: 'fc:openai/x', b: {model: 'fc:openai/x', fallbacks: ['fc:groq/y']}}\n"
        "providers: {openai: {api_key: k, trust_env: true}, xai: {api_key: k}, sandbox: {}}\n"
        "prices: {'fc:openai/x': {input: 1}}\n",
        ANTHROPIC_API_KEY="k",
    )

    assert settings.not_in_effect == ()


def test_at_most_a_hundred_webhooks_are_named(load_text):
    """Each event is looked at for each of them."""
    endpoints = ", ".join(f"{{url: 'https://x/{number}', secret: s}}" for number in range(101))

    with pytest.raises(SettingsError) as refused:
        load_text(f"webhooks: [{endpoints}]")

    assert str(refused.value) == "webhooks.endpoints: are 101; name at most 100"


def test_upstream_may_be_anywhere(load_text):
    """It is the owner of the proxy who names it."""
    settings = load_text("upstream: {url: 'http://10.0.0.7:8080/usage', secret: s}")

    assert settings.upstream.url == "http://10.0.0.7:8080/usage"


@pytest.mark.parametrize(
    ("keys", "count"), [("", 0), (f"{'A' * 43}=", 1), (f"{'A' * 43}=, {'B' * 42}A=", 2)]
)
def test_master_keys_come_from_the_environment(load_text, keys, count):
    """The newest first; without any there is none."""
    settings = load_text("{}", RINGSIDE_MASTER_KEYS=keys)

    assert len(settings.master_keys) == count
    assert "AAAA" not in repr(settings)


def test_master_keys_may_lie_in_a_file(load_text, tmp_path):
    """As other mounted secrets do."""
    (tmp_path / "keys").write_text(f"{'A' * 43}=\n")

    settings = load_text("{}", RINGSIDE_MASTER_KEYS=f"file:{tmp_path}/keys")

    assert list(settings.master_keys) == [f"{'A' * 43}="]


def loaded_or_refused(path: Path, env: dict[str, str]) -> Settings | SettingsError:
    """Whatever else is raised fails the test."""
    try:
        return load(path, env)
    except SettingsError as refused:
        return refused


WORDS = st.sampled_from(
    [
        *["server", "auth", "tokens", "slots", "prices", "webhooks", "budgets", "params", "port"],
        *[":", " ", "\n", "  ", "- ", "{", "}", "[", "]", ",", "'", '"', "#", "|", ">", "&a", "*a"],
        *["!", "!!str", "%YAML 1.1", "---", "...", "? ", "null", "~", "\\x", "\\UFFFFFFFF", "\t"],
        *[
            "${A}",
            "${",
            "${A:-",
            "file:/",
            "fc:",
            "fc:openai/x",
            "slot:",
            "1e9",
            "9" * 400,
            "\ud7ff",
        ],
    ]
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("config") / "ringside.yaml"


@given(data=st.one_of(st.binary(max_size=300), st.lists(WORDS).map(lambda w: "".join(w).encode())))
def test_any_bytes_are_settings_or_problems(scratch, data):
    """Nothing but SettingsError comes out of a file, whatever is in it."""
    scratch.write_bytes(data)

    outcome = loaded_or_refused(scratch, {"A": "\udcff"})

    if isinstance(outcome, SettingsError):
        assert outcome.problems
        assert all(problem.what and problem.remedy for problem in outcome.problems)


def test_half_written_file_is_settings_or_problems(scratch):
    """An editor may be watched while it saves: cut at any byte the default file does no harm."""
    whole = DEFAULT.read_bytes()

    for size in range(len(whole)):
        scratch.write_bytes(whole[:size])
        assert loaded_or_refused(scratch, {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda child: st.lists(child, max_size=3) | st.dictionaries(st.text(max_size=8), child),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["server", "auth", "providers", "slots", "webhooks", "prices", "runs", "log"]
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault of the values
@given(sections=st.dictionaries(KEYS, JSON))
def test_any_value_under_a_section_is_settings_or_problems(scratch, sections):
    """A section of the wrong form is a problem, not a crash."""
    scratch.write_text(json.dumps(sections), encoding="utf-8")

    outcome = loaded_or_refused(scratch, {})

    if isinstance(outcome, Settings):
        assert outcome.providers
    else:
        places = (*sections, "line", "file", "auth")
        assert all(problem.path.startswith(places) for problem in outcome.problems)
