"""Who calls, and what they may see."""

import re
from typing import Final, Literal

import msgspec

from ringside_proxy.domain.errors import InvalidRequestError

CUSTOMER_ID_CHARACTER: Final = "[A-Za-z0-9_.:@-]"
CUSTOMER_ID_LENGTH_MAX: Final = 256
CUSTOMER_ID: Final = re.compile(f"{CUSTOMER_ID_CHARACTER}{{1,{CUSTOMER_ID_LENGTH_MAX}}}")
"""How end-customers may be named: their ids stand in paths as they are."""

DEVELOPERS: Final = ""
"""The owner of everything that developer tokens make."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The holder of a valid token. A client belongs to one customer.

    `once` names what is called if it must not be done twice: the scope of its Idempotency-Key.
    """

    token_id: str
    name: str
    role: Literal["developer", "client"] = "developer"
    customer: str | None = None
    once: bytes | None = None

    @property
    def owner(self) -> str:
        """Whose objects this caller makes."""
        return self.customer if self.customer is not None else DEVELOPERS

    def sees(self, owner: str) -> bool:
        """Developers see everything, a client what its customer's tokens made."""
        return self.role == "developer" or owner == self.owner


def require_customer_id(given: str, param: str) -> None:
    """Raise InvalidRequestError unless an end-customer may be named so."""
    if CUSTOMER_ID.fullmatch(given) is None:
        raise InvalidRequestError(
            f"Invalid '{param}': a customer id has 1 to {CUSTOMER_ID_LENGTH_MAX} characters of "
            "A-Z a-z 0-9 _ . : @ -.",
            param=param,
            code="invalid_value",
        )
