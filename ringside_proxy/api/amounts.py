"""Amounts of USD in bodies."""

from typing import Annotated, TypeAlias

from msgspec import Meta

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.money import AMOUNT_USD_MAX, nano_usd

AmountUSD: TypeAlias = Annotated[float, Meta(ge=0, le=AMOUNT_USD_MAX)]


def nano_of(amount: float, param: str) -> int:
    """The amount in nano-USD, exactly. Raises InvalidRequestError if that cannot be had."""
    nano = nano_usd(amount)
    if nano is None:
        raise InvalidRequestError(
            f"Invalid '{param}': too many decimals. Expected an amount in USD with at most 9 "
            f"decimals, but got {amount!r} instead.",
            param=param,
            code="invalid_value",
        )
    return nano
