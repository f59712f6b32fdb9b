"""Money: integer nano-USD inside, JSON numbers of USD on the wire."""

from typing import Final

NANO_PER_USD: Final = 10**9
PPM: Final = 10**6


def usd(nano_usd: int) -> float:
    """The amount as the wire shows it: a number with at most nine decimals.

    Exact below 9 million USD: a float keeps fifteen digits, and its shortest form is the amount.
    """
    return nano_usd / NANO_PER_USD


def usd_or_null(nano_usd: int | None) -> float | None:
    """The same for an amount that may be unknown."""
    return None if nano_usd is None else usd(nano_usd)


def markup(nano_usd: int, ppm: int) -> int:
    """What is added to a provider's cost, rounded up once."""
    return -(-nano_usd * ppm // PPM)


def before_markup(nano_usd: int, ppm: int) -> int:
    """The largest provider's cost that is at most `nano_usd` with its markup."""
    return nano_usd * PPM // (PPM + ppm)
