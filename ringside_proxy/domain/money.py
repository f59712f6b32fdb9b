"""Money: integer nano-USD inside, JSON numbers of USD on the wire."""

from decimal import Decimal
from functools import lru_cache
from typing import Final

NANO_PER_USD: Final = 10**9
PPM: Final = 10**6

AMOUNT_USD_MAX: Final = 10**9
"""The largest amount that is taken."""
EXACT_USD_MAX: Final = 2**23
"""Below it every amount with nine decimals is a float of its own; a larger float only tells
DIGITS_KEPT digits apart."""
DIGITS_KEPT: Final = 15


def usd(nano_usd: int) -> float:
    """The amount as the wire shows it: a number with at most nine decimals.

    Exact below EXACT_USD_MAX, where the shortest form of the float is the amount.
    """
    return nano_usd / NANO_PER_USD


def nano_usd(amount: float) -> int | None:
    """An amount of the wire, exactly: the one of which the number is the shortest form.

    None for more than nine decimals, and for more digits than a number so large tells apart.
    """
    written = Decimal(repr(amount))
    if abs(written) >= EXACT_USD_MAX and len(written.normalize().as_tuple().digits) > DIGITS_KEPT:
        return None
    nano = written * NANO_PER_USD
    return int(nano) if nano == nano.to_integral_value() else None


def usd_text(nano_usd: int) -> str:
    """The amount in a header: plain digits, without an exponent or trailing zeros."""
    sign, (whole, rest) = "-" if nano_usd < 0 else "", divmod(abs(nano_usd), NANO_PER_USD)
    return f"{sign}{whole}.{rest:09}".rstrip("0").rstrip(".")


def usd_or_null(nano_usd: int | None) -> float | None:
    """The same for an amount that may be unknown."""
    return None if nano_usd is None else usd(nano_usd)


def markup(nano_usd: int, ppm: int) -> int:
    """What is added to a provider's cost, rounded up once."""
    return -(-nano_usd * ppm // PPM)


def reaches(spent_nano: int, share: float, of_nano: int) -> bool:
    """Whether so much is a share of an amount at least: of the one that the number is written as."""
    return spent_nano >= of_nano * _as_written(share)


@lru_cache
def _as_written(number: float) -> Decimal:
    return Decimal(repr(number))


def before_markup(nano_usd: int, ppm: int) -> int:
    """The largest provider's cost that is at most `nano_usd` with its markup."""
    return nano_usd * PPM // (PPM + ppm)
