"""Which addresses may be dialled on somebody else's word: a webhook's, an image's.

A name says nothing: it may resolve to anything, and to something else a moment later. So the rule
is about the address that is about to be dialled, and `guarded_client.py` asks it there. What a URL
alone gives away is said earlier, in words, by `check_url`.

`ipaddress.is_global` would not do: it holds NAT64, 6to4 and multicast for global.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from unicodedata import normalize
from urllib.parse import urlsplit

import msgspec

from ringside_proxy.domain.errors import AddressRefusedError

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

PRIVATE_IPV4: Final = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
PUBLIC_IPV6: Final = IPv6Network("2000::/3")
PRIVATE_IPV6: Final = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
"""What is not public in `PUBLIC_IPV6`; nothing outside it is."""

EXACT_ONLY: Final[tuple[IPNetwork, ...]] = (
    IPv4Network("169.254.0.0/16"),
    IPv4Network("100.100.100.200"),
    IPv4Network("192.0.0.192"),
    IPv6Network("fe80::/10"),
    IPv6Network("fd00:ec2::254"),
    IPv6Network("fd20:ce::254"),
    IPv6Network("64:ff9b::/96"),
    IPv6Network("2001::/32"),
    IPv6Network("2002::/16"),
)
"""What no network lets in, only an entry for the one address: link-local addresses, the places
where clouds keep a machine's keys (AWS, Google, Alibaba, Oracle), and addresses that stand for an
IPv4 address which would have to be judged instead (NAT64, Teredo, 6to4)."""

PORTS_REFUSED: Final = frozenset({22, 25})
"""SSH and SMTP: what is posted there may be read as commands."""

HOST_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")


class AddressRules(msgspec.Struct, frozen=True):
    """The public internet, and the owner's exceptions: `networks`, and `hosts` by their names.

    `setting` is where in the configuration they stand.
    """

    setting: str
    networks: tuple[IPNetwork, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, setting: str, allow_private: Iterable[str]) -> "AddressRules":
        """The rules with these exceptions. Raises ValueError for one that is neither kind."""
        networks: list[IPNetwork] = []
        hosts: set[str] = set()
        for entry in allow_private:
            try:
                networks.append(ip_network(entry.strip("[]")))
            except ValueError:
                hosts.add(_host_entry(entry))
        return cls(setting, tuple(networks), frozenset(hosts))

    def allows_host(self, host: str) -> bool:
        """Whether the owner named this host, and so all that is not exact-only behind its name."""
        return _plain(host) in self.hosts

    def refuses(self, address: str | IPAddress, *, host: str = "") -> bool:
        """Whether `address`, which `host` stands for, may not be dialled."""
        try:
            found = _unwrapped(ip_address(address))
        except ValueError:
            return True
        if _is_in(found, EXACT_ONLY):
            return ip_network(found) not in self.networks
        is_allowed = _is_public(found) or self.allows_host(host) or _is_in(found, self.networks)
        return not is_allowed

    def check_url(self, url: str, *, may_be_plain: bool = False) -> None:
        """Raise AddressRefusedError for what can be seen without a lookup not to be allowed.

        Plain http goes to allowed private targets only, unless `may_be_plain`.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise AddressRefusedError(f"The URL cannot be read: {error}.") from error
        if parts.scheme not in ("https", "http") or not host:
            raise AddressRefusedError("The URL has to begin with https:// and to name a host.")
        if parts.username is not None or parts.password is not None:
            raise AddressRefusedError("The URL may not hold a user name or a password.")
        if port == 0 or port in PORTS_REFUSED:
            raise AddressRefusedError(f"Nothing is sent to port {port}: use another.")
        literal = literal_address(host)
        if literal is not None and self.refuses(literal, host=host):
            raise self.refusal(str(literal))
        is_private = self.allows_host(host) or (literal is not None and not _is_public(literal))
        if parts.scheme == "http" and not may_be_plain and not is_private:
            raise AddressRefusedError(
                f"The URL has to be https: plain http goes to what {self.setting} lists alone."
            )

    def refusal(self, address: str) -> AddressRefusedError:
        """The error for an address that may not be dialled, with the way to allow it."""
        return AddressRefusedError(
            f"The address {address} is not public. If it is meant, the owner of this proxy can "
            f"list it under {self.setting} in the configuration."
        )


def literal_address(host: str) -> IPAddress | None:
    """The address that a host is, in any of the forms that a lookup takes for one; None: a name.

    `127.1`, `0x7f.1`, `0177.0.0.1`, `2130706433` and circled digits are all 127.0.0.1.
    """
    plain = _plain(host)
    try:
        return _unwrapped(ip_address(plain))
    except ValueError:
        pass
    fields = plain.split(".")
    if len(fields) > 4 or not all(NUMBER.fullmatch(field) for field in fields):
        return None
    try:
        *heads, tail = (_number(field) for field in fields)
    except ValueError:
        return None
    if any(head > 255 for head in heads) or tail >= 256 ** (4 - len(heads)):
        return None
    for position, head in enumerate(heads):
        tail += head << 8 * (3 - position)
    return IPv4Address(tail)


def _plain(host: str) -> str:
    """A host as a lookup reads it: IDNA's full stops are dots too."""
    return normalize("NFKC", host).replace("\u3002", ".").lower().strip("[]").rstrip(".")


def _host_entry(entry: str) -> str:
    plain = _plain(entry)
    if not HOST_NAME.fullmatch(plain) or literal_address(plain) is not None:
        message = f"'{entry}' is neither a network, an address nor a host name"
        raise ValueError(message)
    return plain


def _number(field: str) -> int:
    """As C reads it: hexadecimal after 0x, octal after 0."""
    if field.startswith("0x"):
        return int(field[2:] or "0", 16)
    return int(field, 8 if len(field) > 1 and field.startswith("0") else 10)


def _unwrapped(address: IPAddress) -> IPAddress:
    """The IPv4 address inside a mapped one, and no interface beside a link-local one."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _is_in(address: IPAddress, networks: tuple[IPNetwork, ...]) -> bool:
    return any(address in network for network in networks)


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, IPv4Address):
        return not _is_in(address, PRIVATE_IPV4)
    return address in PUBLIC_IPV6 and not _is_in(address, PRIVATE_IPV6)
