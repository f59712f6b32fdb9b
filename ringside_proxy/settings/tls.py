"""TLS for the API: whose certificate it shows, and whose it asks for."""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ringside_proxy.settings.problems import Problem

PROTOCOL: Final = "http/1.1"


class TLSSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Files in PEM. Without any the API speaks plain HTTP."""

    cert: Annotated[
        str | None,
        Meta(
            description="The server's certificate, and those that it was signed with: a file's path.",
            examples=["/run/secrets/tls.crt"],
        ),
    ] = None
    key: Annotated[
        str | None, Meta(description="Its private key.", examples=["/run/secrets/tls.key"])
    ] = None
    client_ca: Annotated[
        str | None,
        Meta(
            description="Only clients with a certificate that one of these has signed are let in.",
            examples=["/run/secrets/client-ca.crt"],
        ),
    ] = None

    def faults(self) -> Iterator[Problem]:
        """Files that are missing, that cannot be read, or that do not belong together."""
        if self == TLSSettings():
            return
        missing = [name for name in ("cert", "key") if getattr(self, name) is None]
        unreadable = [*_unreadable(self)]
        yield from (Problem(name, "is missing", "name a file in PEM") for name in missing)
        yield from unreadable
        if missing or unreadable:
            return
        try:
            server_context(self)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "no PEM"
            what = f"cannot be used with what stands beside it ({reason})"
            yield Problem("cert", what, "give a certificate, its key without a password, as PEM")


def server_context(tls: TLSSettings) -> ssl.SSLContext | None:
    """What the listener speaks, TLS 1.2 at least; None without a certificate.

    Raises OSError, of which SSLError is one, for files that cannot be used.
    """
    if tls.cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([PROTOCOL])
    context.load_cert_chain(tls.cert, tls.key, _no_password)
    if tls.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tls.client_ca)
    return context


def renew(context: ssl.SSLContext, tls: TLSSettings) -> None:
    """Show connections from now on what the files hold now.

    Files that are gone (the configuration names others, from the next start on) change nothing.
    Who signs clients' certificates may become more, and less only with the next start.
    """
    with suppress(OSError):
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key, _no_password)
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)


def own_client_context(tls: TLSSettings) -> ssl.SSLContext | None:
    """For a command beside the proxy: it trusts this certificate alone, and shows it too.

    By whatever name the listener is called, it is the one that has the key.
    """
    if tls.cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(tls.cert)
    if tls.client_ca is not None:
        context.load_cert_chain(tls.cert, tls.key, _no_password)
    return context


def _no_password() -> str:
    """A key with a password is refused; OpenSSL would ask for it on the terminal."""
    return ""


def _unreadable(tls: TLSSettings) -> Iterator[Problem]:
    for name, path in msgspec.structs.asdict(tls).items():
        try:
            if path is not None:
                Path(path).open("rb").close()
        except OSError as error:
            yield Problem(name, f"cannot be read: {error.strerror}", "name a readable file")
