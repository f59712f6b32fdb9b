"""Signatures: how a receiver knows that a body is ours and when it was sent.

Every request carries both of the usual forms, so that a receiver can use the library it has:

    X-FC-Signature     t=<unix>,v1=<hex>[,v1=<hex>]        as Stripe signs, the whole secret is the key
    webhook-signature  v1,<base64>[ v1,<base64>]           Standard Webhooks, with webhook-id and
                                                           webhook-timestamp

Each secret that is live signs: during a rotation the new one first, then the old one.
Source: stripe-python's WebhookSignature and the Standard Webhooks specification, read 2026-11-21.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from ringside_proxy.domain.webhooks import standard_key


def signed_headers(
    message_id: str, body: bytes, timestamp_s: int, secrets: Sequence[str]
) -> dict[str, str]:
    """The headers that vouch for `body`, sent at `timestamp_s` under one id for all attempts."""
    time = str(timestamp_s)
    timed = time.encode() + b"." + body
    named = message_id.encode() + b"." + timed
    stripes = (_mac(secret.encode(), timed).hex() for secret in secrets)
    standards = (base64.b64encode(_mac(standard_key(secret), named)).decode() for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": time,
        "webhook-signature": " ".join(f"v1,{mac}" for mac in standards),
        "X-FC-Signature": ",".join([f"t={time}", *(f"v1={mac}" for mac in stripes)]),
    }


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
