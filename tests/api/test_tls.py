"""HTTPS: the API shows its certificate, asks for the client's if told to, and is found by commands."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from cryptography import x509

from ringside_proxy.commands import tokens
from ringside_proxy.commands.errors import CommandError
from ringside_proxy.commands.reach import Access, Proxy
from ringside_proxy.settings.load import load
from ringside_proxy.settings.problems import SettingsError
from ringside_proxy.settings.schema import ServerSettings, Settings
from ringside_proxy.settings.tls import TLSSettings, server_context
from tests.api.live import following, until
from tests.api.rig import DEVELOPER, Caller, Ringside, serving
from tests.certificates import Authority, Issued


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls(issued: Issued, client_ca: Path | None = None) -> TLSSettings:
    """The section for a certificate."""
    ca = None if client_ca is None else str(client_ca)
    return TLSSettings(cert=str(issued.cert), key=str(issued.key), client_ca=ca)


def speaking(section: TLSSettings) -> Any:
    """The server's settings with it."""
    return ServerSettings(port=0, tls=section)


def caller(
    session: aiohttp.ClientSession, ringside: Ringside, token: str | None = DEVELOPER
) -> Caller:
    """A developer who comes by the session's connector."""
    return Caller(session, ringside.proxy.url, token)


def trusting(authority: Authority, own: Issued | None = None) -> aiohttp.TCPConnector:
    """Connections that check the certificate, and show their own."""
    context = ssl.create_default_context(cafile=str(authority.cert))
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return aiohttp.TCPConnector(ssl=context)


async def test_the_api_speaks_https(tmp_path: Path, authority: Authority) -> None:
    """Plain and streamed, with a certificate that checks; the health listener stays plain."""
    server = speaking(tls(authority.issue("server")))
    async with (
        serving(tmp_path, server=server) as ringside,
        aiohttp.ClientSession(connector=trusting(authority)) as session,
    ):
        api = caller(session, ringside)
        listed = await api.get("/v1/models")
        body = {"model": "fc:sandbox/echo", "messages": [{"role": "user", "content": "hi"}]}
        streamed = await api.post("/v1/chat/completions", body | {"stream": True})
        ready = await ringside.admin("/readyz")

    assert ringside.proxy.url.startswith("https://127.0.0.1:")
    assert ringside.proxy.admin_url.startswith("http://")
    assert (listed.status, streamed.status, ready.status) == (200, 200, 200)
    assert streamed.body.endswith(b"data: [DONE]\n\n")


async def test_plain_http_is_not_answered(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """And leaves nothing in the log: strangers could fill the disk with it."""
    server = speaking(tls(authority.issue("server")))
    async with serving(tmp_path, server=server) as ringside:
        plain = ringside.proxy.url.replace("https", "http")
        with pytest.raises(aiohttp.ClientError):
            await ringside.session.get(f"{plain}/v1/models")

    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_clients_show_a_certificate_where_one_is_asked_for(
    tmp_path: Path, authority: Authority
) -> None:
    """Without one, or with somebody else's, nobody gets as far as a token."""
    strangers = Authority(tmp_path, "strangers")
    stranger = strangers.issue("stranger")
    server = speaking(tls(authority.issue("server"), authority.cert))
    async with serving(tmp_path, server=server) as ringside:
        for own, is_let_in in ((authority.issue("mine"), True), (None, False), (stranger, False)):
            async with aiohttp.ClientSession(connector=trusting(authority, own)) as session:
                if is_let_in:
                    assert (await caller(session, ringside).get("/v1/models")).status == 200
                else:
                    with pytest.raises((aiohttp.ClientError, OSError)):
                        await caller(session, ringside).get("/v1/models")


async def shown(url: str) -> str:
    """The name in the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    del reader
    return x509.load_der_x509_certificate(der).subject.rfc4514_string()


async def test_a_renewed_certificate_is_shown_by_itself(
    tmp_path: Path, authority: Authority
) -> None:
    """To new connections; one that is open goes on, and files that do not fit change nothing."""
    issued, renewed = authority.issue("server"), authority.issue("renewed")
    section = {"cert": str(issued.cert), "key": str(issued.key)}
    async with (
        following(tmp_path, server={"port": 0, "tls": section}) as live,
        aiohttp.ClientSession(connector=trusting(authority)) as session,
    ):
        api = Caller(session, live.proxy.url, DEVELOPER)
        before = await shown(live.proxy.url)
        kept = issued.key.read_bytes()
        issued.key.write_bytes(renewed.key.read_bytes())
        assert not await live.reload()
        still = await shown(live.proxy.url)
        status = (await api.get("/v1/config/status")).json
        issued.key.write_bytes(kept)

        issued.cert.write_bytes(renewed.cert.read_bytes())
        issued.key.write_bytes(renewed.key.read_bytes())

        async def is_renewed() -> bool:
            return await shown(live.proxy.url) == "CN=renewed"

        await until(is_renewed)
        assert (await api.get("/v1/models")).status == 200

    assert (before, still) == ("CN=server", "CN=server")
    assert [problem["path"] for problem in status["problems"]] == ["server.tls.cert"]


async def test_files_that_are_gone_stop_no_reload(tmp_path: Path, authority: Authority) -> None:
    """The file names others by now, which wait for a restart."""
    issued, other = authority.issue("server"), authority.issue("other")
    section = {"cert": str(issued.cert), "key": str(issued.key)}
    async with following(tmp_path, server={"port": 0, "tls": section}) as live:
        issued.cert.unlink()
        section = {"cert": str(other.cert), "key": str(other.key)}
        live.write(server={"port": 0, "tls": section}, slots={"new": "fc:sandbox/echo"})

        assert await live.reload()
        assert list(live.proxy.services.live_config.snapshot.settings.slots) == ["new"]
        assert await shown(live.proxy.url) == "CN=server"


def test_old_versions_are_not_spoken(authority: Authority) -> None:
    """TLS 1.2 at least."""
    context = server_context(tls(authority.issue("server")))

    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("asks_clients", [False, True])
async def test_commands_know_the_proxy_by_its_certificate(
    tmp_path: Path, authority: Authority, asks_clients: bool
) -> None:
    """By whatever name it listens; somebody else's on its port is not told the token."""
    section = tls(authority.issue("server"), authority.cert if asks_clients else None)
    async with serving(tmp_path, server=speaking(section)) as ringside:
        port = int(ringside.proxy.url.rpartition(":")[2])

        def access(shown: TLSSettings) -> Access:
            server = ServerSettings(host="localhost", port=port, tls=shown)
            settings: Settings = msgspec.structs.replace(ringside.settings, server=server)
            return Access(settings=settings, token=DEVELOPER)

        listing = await asyncio.to_thread(tokens.listing, access(section))
        with (
            Proxy(access(tls(authority.issue("another")))) as other,
            pytest.raises(CommandError, match="did not answer as expected"),
        ):
            await asyncio.to_thread(other.call, "GET", "/v1/tokens")

    assert "app" in listing


@pytest.mark.parametrize(
    ("section", "path", "what"),
    [
        ("{cert: CERT}", "server.tls.key", "is missing"),
        ("{key: KEY}", "server.tls.cert", "is missing"),
        ("{client_ca: CERT}", "server.tls.cert", "is missing"),
        ("{cert: /nowhere, key: KEY}", "server.tls.cert", "cannot be read"),
        ("{cert: CERT, key: OTHER}", "server.tls.cert", "KEY_VALUES_MISMATCH"),
        ("{cert: CERT, key: LOCKED}", "server.tls.cert", "cannot be used"),
        ("{cert: KEY, key: CERT}", "server.tls.cert", "cannot be used"),
        ("{cert: CERT, key: KEY, client_ca: KEY}", "server.tls.cert", "cannot be used"),
    ],
)
def test_files_that_cannot_serve_are_named(
    tmp_path: Path, authority: Authority, section: str, path: str, what: str
) -> None:
    """When the file is checked, not when the first caller comes; nobody is asked for a password."""
    issued, other = authority.issue("server"), authority.issue("other")
    locked = authority.issue("locked", b"a password")
    files = {"CERT": issued.cert, "KEY": issued.key, "OTHER": other.key, "LOCKED": locked.key}
    for word, file in files.items():
        section = section.replace(word, str(file))
    config = tmp_path / "ringside.yaml"
    config.write_text(f"server: {{tls: {section}}}\n")

    with pytest.raises(SettingsError) as refused:
        load(config, {})

    assert path in [problem.path for problem in refused.value.problems]
    assert what in str(refused.value)
