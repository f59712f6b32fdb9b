"""What moved the wallet."""

from typing import Literal

import msgspec


class WalletTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """`wallet.transaction`: money that came in (above 0), or that a call cost (below 0).

    `balance_usd` is what there was afterwards; `usage_id` names the call's usage record.
    """

    id: str
    object: Literal["wallet.transaction"] = "wallet.transaction"
    type: Literal["top_up", "charge"]
    amount_usd: float
    balance_usd: float
    note: str | None
    usage_id: str | None
    created_at: int
