"""Signatures, against those that AWS's own client makes of the same requests."""

import hashlib
from datetime import UTC, datetime

import msgspec
import pytest

from ringside_proxy.providers.bedrock.sigv4 import SigningKey, canonical_request, signed
from ringside_proxy.providers.types import HTTPRequest

KEY = SigningKey(
    access_key_id="AKIDEXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    region="us-east-1",
    service="bedrock",
)
CONVERSE = HTTPRequest(
    url="https://bedrock-runtime.us-east-1.amazonaws.com"
    "/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse",
    headers={"content-type": "application/json"},
    body=b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}',
)
ARN = HTTPRequest(
    url="https://bedrock-runtime.eu-central-1.amazonaws.com/model/arn%3Aaws%3Abedrock%3Aeu-central-1"
    "%3A123456789012%3Ainference-profile%2Feu.amazon.nova-pro-v1%3A0/converse-stream",
    headers={"content-type": "application/json", "accept": "application/vnd.amazon.eventstream"},
    body=b"{}",
)
LOCAL = HTTPRequest(
    url="http://127.0.0.1:8123/model/m/invoke",
    headers={"content-type": "application/json"},
    body='{"a":"ü"}'.encode(),
)
QUERY = HTTPRequest(
    method="GET",
    url="https://bedrock.us-west-2.amazonaws.com/foundation-models?b=2&a=x%20y&a=1",
    headers={},
)
NOON = "20261121T000000Z"

VECTORS = [
    (
        CONVERSE,
        {"session_token": "TOKEN"},
        NOON,
        "35019f826380c966dc10639026ad900434ad73dcf47a29cc20f5e99f1c00f8ae",
    ),
    (CONVERSE, {}, NOON, "ba4d17e179a1f4d0f2e0862d85748e246a335f851a79a65bc5b5ce46d005d54a"),
    (
        ARN,
        {"region": "eu-central-1"},
        "20260228T235959Z",
        "7648d6e05e01833ae61e5a12411e169299b88c0cc7b6a74383bf42d27599607c",
    ),
    (
        LOCAL,
        {"region": "us-gov-west-1", "session_token": "T"},
        NOON,
        "da2379c0a6d863fdbd6591b3b004b846f9336284464949f69bd49fa0d7093f8b",
    ),
    (
        QUERY,
        {"region": "us-west-2"},
        NOON,
        "54e558c266bc72a81726bb7bb8f4d1ba3f29f655d79e463db33828b9b97dd24f",
    ),
]
"""Request, key, time and the signature that botocore 1.44.5 makes."""


def now_ms(moment: str) -> int:
    return int(datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(("request_", "changes", "moment", "signature"), VECTORS)
def test_signature_is_botocores(request_, changes, moment, signature):
    """Path, query, port, token and body are signed as AWS's own client signs them."""
    key = msgspec.structs.replace(KEY, **changes)

    headers = signed(request_, now_ms(moment) + 999, key=key).headers

    assert headers["authorization"].endswith(f"Signature={signature}")
    assert headers["x-amz-date"] == moment
    assert headers.get("x-amz-security-token") == key.session_token


def test_canonical_request_is_the_documented_one():
    """The middle step is checked too: it is what AWS shows when a signature does not fit."""
    headers = CONVERSE.headers | {"x-amz-date": NOON, "x-amz-security-token": "TOKEN"}

    canonical, names = canonical_request(msgspec.structs.replace(CONVERSE, headers=headers))

    assert names == "content-type;host;x-amz-date;x-amz-security-token"
    assert b"-v1%253A0/converse" in canonical
    assert hashlib.sha256(canonical).hexdigest() == (
        "310a951a4a82e6b3c3019cbfcd97bb6dbeb2a465533abaad01e70b8478c406f8"
    )


def test_headers_that_others_write_are_not_signed():
    """A request id, or a proxy's header, does not break the signature."""
    more = {"x-request-id": "req_1", "user-agent": "x", "X-Amzn-Trace-Id": "y"}
    request = msgspec.structs.replace(CONVERSE, headers=CONVERSE.headers | more)

    signature = signed(request, now_ms(NOON), key=KEY).headers["authorization"]

    assert signature == signed(CONVERSE, now_ms(NOON), key=KEY).headers["authorization"]


def test_key_is_not_shown():
    """A key's repr goes to logs."""
    assert repr(KEY) == "SigningKey(region='us-east-1', service='bedrock')"


@pytest.mark.parametrize("path", ["/model/a%3Ab/converse", "/model/a%2Fb%2520c/x", "/", ""])
@pytest.mark.parametrize("token", [None, "T/+="])
def test_botocore_signs_the_same(path, token, monkeypatch):
    """AWS's own client, on requests that have no recorded signature."""
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    moment = datetime(2026, 11, 21, 1, 2, 3, tzinfo=UTC)
    monkeypatch.setattr(auth, "get_current_datetime", lambda: moment)
    url = f"https://bedrock-runtime.us-east-1.amazonaws.com{path}"
    theirs = AWSRequest(method="POST", url=url, data=b"{}", headers={"content-type": "x/y"})
    auth.SigV4Auth(
        Credentials(KEY.access_key_id, KEY.secret_access_key, token), "bedrock", "us-east-1"
    ).add_auth(theirs)

    key = msgspec.structs.replace(KEY, session_token=token)
    ours = HTTPRequest(url=url, headers={"content-type": "x/y"}, body=b"{}")
    headers = signed(ours, int(moment.timestamp() * 1000), key=key).headers

    assert headers["authorization"] == theirs.headers["Authorization"]
