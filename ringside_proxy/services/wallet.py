"""The wallet: what is put in."""

from typing import Final

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.money import AMOUNT_USD_MAX, NANO_PER_USD, usd
from ringside_proxy.settings.money import WalletSettings
from ringside_proxy.store import idempotency, wallet
from ringside_proxy.store.db import Database
from ringside_proxy.store.tx import Tx
from ringside_proxy.store.wallet import TopUp

BALANCE_NANO_MAX: Final = AMOUNT_USD_MAX * NANO_PER_USD


class Wallet:
    """What may be done to the wallet."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def top_up(
        self, nano: int, note: str | None, terms: WalletSettings, once: bytes | None = None
    ) -> TopUp:
        """Put money in. `once`: see `Caller`.

        Raises InvalidRequestError if the wallet would hold more than it may.
        """

        def apply(tx: Tx) -> TopUp:
            _require_room(tx, nano)
            made = wallet.top_up(tx, nano, note, terms)
            idempotency.made(tx, once, made.id)
            return made

        return await self._db.write(apply)


def _require_room(tx: Tx, nano: int) -> None:
    room = BALANCE_NANO_MAX - wallet.get(tx).balance_nano
    if nano > room:
        raise InvalidRequestError(
            f"Invalid 'amount_usd': the wallet holds at most {AMOUNT_USD_MAX} USD, and there is "
            f"room for {usd(room):.9f}.",
            param="amount_usd",
            code="decimal_above_max_value",
        )
