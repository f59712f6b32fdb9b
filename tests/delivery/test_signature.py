"""Signatures: what receivers verify with the libraries they already have."""

import time
from typing import Final

import openai
import pytest
import standardwebhooks
import stripe
import svix.webhooks

from ringside_proxy.delivery.signature import signed_headers

BODY: Final = '{"id":"evt_1","type":"run.completed","data":{"name":"Łódź 🥊"}}'.encode()
SECRET: Final = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMsIDMyIGI="
OLD: Final = "whsec_dGhlIHNlY3JldCBiZWZvcmUgdGhhdCBvbmUsIDI="
STRANGER: Final = "whsec_bm90IHRoZSBzZWNyZXQgb2YgdGhlIHRlc3RzLCA="
EVENT: Final = "evt_0123456789abcdef01234567"
PATIENCE_S: Final = 300


def with_stripe(body, headers, secret):
    stripe.WebhookSignature.verify_header(body, headers["X-FC-Signature"], secret, PATIENCE_S)


def with_openai(body, headers, secret):
    client = openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9")
    with client:
        client.webhooks.verify_signature(body, headers, secret=secret)


def with_standardwebhooks(body, headers, secret):
    standardwebhooks.Webhook(secret).verify(body, headers)


def with_svix(body, headers, secret):
    svix.webhooks.Webhook(secret).verify(body, headers)


LIBRARIES: Final = {
    with_stripe: stripe.SignatureVerificationError,
    with_openai: openai.InvalidWebhookSignatureError,
    with_standardwebhooks: standardwebhooks.WebhookVerificationError,
    with_svix: svix.webhooks.WebhookVerificationError,
}
"""How each library verifies, and what it raises."""
EACH: Final = pytest.mark.parametrize(
    ("verify", "refusal"), LIBRARIES.items(), ids=[fn.__name__[5:] for fn in LIBRARIES]
)


def sent(secrets=(SECRET,), at_s=None):
    return signed_headers(EVENT, BODY, int(time.time()) if at_s is None else at_s, secrets)


@EACH
def test_library_accepts_what_was_signed(verify, refusal):
    """The body, its headers and the secret are all that a receiver needs."""
    verify(BODY, sent(), SECRET)


@EACH
@pytest.mark.parametrize("secret", [SECRET, OLD], ids=["new", "old"])
def test_library_accepts_both_secrets_of_a_rotation(verify, refusal, secret):
    """While two secrets are live, a receiver may know either."""
    verify(BODY, sent([SECRET, OLD]), secret)


@EACH
def test_library_refuses_another_secret(verify, refusal):
    """Who does not know the secret cannot sign for us."""
    with pytest.raises(refusal):
        verify(BODY, sent([SECRET, OLD]), STRANGER)


@EACH
def test_library_refuses_another_body(verify, refusal):
    """A byte that was changed on the way is noticed."""
    with pytest.raises(refusal):
        verify(BODY.replace(b"completed", b"cancelled"), sent(), SECRET)


@EACH
def test_library_refuses_what_is_old(verify, refusal):
    """A request that somebody kept cannot be sent again after five minutes."""
    with pytest.raises(refusal):
        verify(BODY, sent(at_s=int(time.time()) - PATIENCE_S - 5), SECRET)


def test_headers_are_those_of_the_contract():
    """Names, order and form, for one secret and for two."""
    one, two = sent(at_s=1763700000), sent([SECRET, OLD], 1763700000)

    assert list(one) == [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "X-FC-Signature",
    ]
    assert (one["webhook-id"], one["webhook-timestamp"]) == (EVENT, "1763700000")
    assert one["webhook-signature"].startswith("v1,")
    assert two["webhook-signature"].split(" ")[0] == one["webhook-signature"]
    assert one["X-FC-Signature"].startswith("t=1763700000,v1=")
    assert two["X-FC-Signature"].startswith(one["X-FC-Signature"] + ",v1=")


@pytest.mark.parametrize("secret", ["a plain pass phrase", "whsec_not base64!"])
def test_secret_that_is_no_base64_signs_with_its_bytes(secret):
    """As OpenAI's library takes one without prefix, and Stripe's any."""
    headers = sent([secret])

    with_stripe(BODY, headers, secret)
    if not secret.startswith("whsec_"):
        with_openai(BODY, headers, secret)
