"""Which addresses may be dialled on somebody else's word."""

from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.addresses import AddressRules, literal_address
from ringside_proxy.domain.errors import AddressRefusedError

STRICT = AddressRules.of("webhooks.allow_private", ())
PRIVATE = [
    *("0.0.0.1", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1"),
    *(
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "255.255.255.255",
    ),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fe80::1%eth0"),
    *("fec0::1", "fc00::1", "fd00:ec2::254", "fd12::1", "ff02::1", "64:ff9b::7f00:1"),
    *("2001::1", "2001:1::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "100::1", "5f00::1"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "172.32.0.1", "192.0.1.1"),
    *("198.20.0.1", "223.255.255.255", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450::1"),
]
LOOPBACK_SPELLINGS = [
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1"),
    *("0177.0x0.0.0x1", "017700000001", "127.0.0.1.", "①②⑦.0.0.1", "[127.0.0.1]"),
    *("[::ffff:127.0.0.1]", "::ffff:7f00:1", "127。0。0。1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_is_refused(address):
    """Nothing inside, reserved, or standing for another address is dialled."""
    assert STRICT.refuses(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_dialled(address):
    """The internet is what the calls are for."""
    assert not STRICT.refuses(address)


@given(st.ip_addresses(v=4))
def test_mapped_address_is_the_address_inside(address):
    """IPv4 in IPv6's clothes is judged as IPv4."""
    assert STRICT.refuses(f"::ffff:{address}") == STRICT.refuses(address)


@given(st.ip_addresses(v=6))
def test_public_ipv6_is_inside_its_one_block(address):
    """All of IPv6 but 2000::/3 is refused."""
    if address not in ip_network("2000::/3") and address.ipv4_mapped is None:
        assert STRICT.refuses(address)


@pytest.mark.parametrize("spelling", LOOPBACK_SPELLINGS)
def test_every_spelling_of_an_address_is_read(spelling):
    """Whatever a lookup would take for an address is one."""
    assert literal_address(spelling) == IPv4Address("127.0.0.1")


@pytest.mark.parametrize(
    "name",
    [
        *("example.com", "127.0.0.1.example.com", "1.2.3.4.5", "127.0.0.256", "256.1"),
        *("4294967296", "1..1", "localhost", "0xg.1", "08.0.0.1", ""),
    ],
)
def test_name_is_no_address(name):
    """What only looks like one is left to the lookup, and to the guard behind it."""
    assert literal_address(name) is None


def test_listed_network_is_dialled():
    """The owner's own networks are let in, and nothing beside them."""
    rules = AddressRules.of(
        "webhooks.allow_private", ["10.0.0.0/8", "127.0.0.1", "[::1]", "fd00::/8"]
    )

    assert not any(
        map(rules.refuses, ["10.1.2.3", "127.0.0.1", "::ffff:10.0.0.1", "::1", "fd12::1"])
    )
    assert all(map(rules.refuses, ["127.0.0.2", "172.16.0.1", "192.168.0.1", "fc00::1"]))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("169.254.169.254", "169.254.0.0/16"),
        ("169.254.1.1", "0.0.0.0/0"),
        ("100.100.100.200", "100.64.0.0/10"),
        ("fe80::1", "fe80::/10"),
        ("fd00:ec2::254", "fd00::/8"),
        ("64:ff9b::a9fe:a9fe", "::/0"),
    ],
)
def test_place_of_a_machine_s_keys_needs_an_entry_of_its_own(address, network):
    """A wide network does not let link-local and metadata addresses in; the address itself does."""
    assert AddressRules.of("w", [network]).refuses(address)
    assert not AddressRules.of("w", [address]).refuses(address)


def test_listed_host_is_dialled_wherever_it_is():
    """Behind the owner's host may stand a private address, but no exact-only one; no other host."""
    rules = AddressRules.of("webhooks.allow_private", ["Hooks.internal"])

    assert not rules.refuses("10.0.0.1", host="hooks.INTERNAL.")
    assert rules.refuses("169.254.169.254", host="hooks.internal")
    assert rules.refuses("10.0.0.1", host="other.internal")
    assert rules.refuses("10.0.0.1", host="hooks.internal.example.com")


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/33", "10.0.0.1/8", "a b", "", "*", "http://x", "127.1"]
)
def test_entry_that_is_none_is_refused(entry):
    """A typing error must not open or close anything in silence."""
    with pytest.raises(ValueError, match="neither a network, an address nor a host name"):
        AddressRules.of("webhooks.allow_private", [entry])


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://127.0.0.1/x", "127.0.0.1 is not public"),
        ("https://2130706433/", "127.0.0.1 is not public"),
        ("https://0x7f.1/", "127.0.0.1 is not public"),
        ("https://[::ffff:127.0.0.1]/", "127.0.0.1 is not public"),
        ("https://①②⑦.0.0.1/", "127.0.0.1 is not public"),
        ("https://[64:ff9b::1]/", "not public"),
        ("https://169.254.169.254/latest", "list it under webhooks.allow_private"),
        ("http://example.com/", "has to be https"),
        ("ftp://example.com/", "begin with https://"),
        ("file:///etc/passwd", "begin with https://"),
        ("gopher://example.com:70/", "begin with https://"),
        ("https:///x", "name a host"),
        ("x", "begin with https://"),
        ("https://user:pw@example.com/", "user name or a password"),
        ("https://example.com:22/", "port 22"),
        ("https://example.com:25/", "port 25"),
        ("https://example.com:0/", "port 0"),
        ("https://example.com:65536/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
    ],
)
def test_url_is_refused_in_words(url, words):
    """What can be seen without a lookup is said at once, with the remedy."""
    with pytest.raises(AddressRefusedError) as refused:
        STRICT.check_url(url)

    assert words in refused.value.message
    assert "pw" not in refused.value.message


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "https://example.com:8443/a?b=c", "https://1.1.1.1/", "https://ü.de"],
)
def test_public_url_passes(url):
    """Names are judged when they are looked up."""
    STRICT.check_url(url)


def test_plain_http_is_for_private_targets():
    """Inside the owner's network there may be no certificates; outside there are."""
    rules = AddressRules.of("webhooks.allow_private", ["127.0.0.1", "hooks.internal"])

    rules.check_url("http://127.0.0.1:8080/")
    rules.check_url("http://hooks.internal/")
    rules.check_url("http://example.com/", may_be_plain=True)
    for url in ("http://example.com/", "http://1.1.1.1/"):
        with pytest.raises(AddressRefusedError, match="allow_private lists alone"):
            rules.check_url(url)
