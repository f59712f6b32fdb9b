"""AWS Signature Version 4 over a request's method, address, body and a time. Pure.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html,
as AWS's own client has it (botocore 1.44.5, `auth.py`), read 2026-11-21.
"""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from ringside_proxy.providers.types import HTTPRequest

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED: Final = frozenset({"authorization", "user-agent", "x-request-id", "x-amzn-trace-id"})
"""Headers that something between us and AWS may write or rewrite."""
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """Who signs, and for which region and service. Its repr shows no secret."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    region: str
    service: str

    def __repr__(self) -> str:
        return f"SigningKey(region={self.region!r}, service={self.service!r})"


def signed(request: HTTPRequest, now_ms: int, *, key: SigningKey) -> HTTPRequest:
    """The request with the headers that sign it; AWS takes it for five minutes around `now_ms`."""
    moment = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{key.region}/{key.service}/aws4_request"
    headers = {**request.headers, "x-amz-date": moment}
    if key.session_token:
        headers["x-amz-security-token"] = key.session_token
    canonical, names = canonical_request(msgspec.structs.replace(request, headers=headers))
    text = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(canonical).hexdigest()])
    signature = hmac.new(_day_key(key, moment[:8]), text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"{ALGORITHM} Credential={key.access_key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return msgspec.structs.replace(request, headers=headers)


def canonical_request(request: HTTPRequest) -> tuple[bytes, str]:
    """What is signed of a request, and the names of the headers in it.

    The path is encoded once more than it is sent, as every service but S3 has it.
    """
    url = urlsplit(request.url)
    headers = {
        name.lower(): " ".join(value.split())
        for name, value in request.headers.items()
        if name.lower() not in UNSIGNED
    }
    host = url.hostname or ""
    is_default_port = url.port in (None, DEFAULT_PORTS.get(url.scheme))
    headers["host"] = host if is_default_port else f"{host}:{url.port}"
    names = ";".join(sorted(headers))
    query = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(url.query, keep_blank_values=True)
    )
    lines = [
        request.method,
        quote(url.path or "/", safe="/~"),
        "&".join(f"{name}={value}" for name, value in query),
        *(f"{name}:{headers[name]}" for name in sorted(headers)),
        "",
        names,
        hashlib.sha256(request.body).hexdigest(),
    ]
    return "\n".join(lines).encode(), names


def _day_key(key: SigningKey, day: str) -> bytes:
    derived = f"AWS4{key.secret_access_key}".encode()
    for part in (day, key.region, key.service, "aws4_request"):
        derived = hmac.new(derived, part.encode(), hashlib.sha256).digest()
    return derived
