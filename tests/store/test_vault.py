"""The vault: secrets are sealed, bound to their place, and opened by the keys that sealed them."""

import itertools
import stat

import pytest

from ringside_proxy.store.files import StoreError
from ringside_proxy.store.vault import Vault, key_file_of

SECRET = "whsec_canary"
PLACE = "webhooks|wh_1|secret"
NEW, OLD = b"n" * 32, b"o" * 32


@pytest.fixture
def key_file(tmp_path):
    """Where a store without master keys keeps its own."""
    return key_file_of(tmp_path / "ringside.db")


def test_sealed_secret_is_opened_at_its_place():
    """What comes out is what went in."""
    vault = Vault([NEW])

    assert vault.open(vault.seal(SECRET, PLACE), PLACE) == SECRET


def test_sealed_secret_shows_nothing_and_is_never_the_same():
    """Neither the secret nor a repetition can be seen."""
    vault = Vault([NEW])

    sealed = {vault.seal(SECRET, PLACE) for _ in range(20)}

    assert len(sealed) == 20
    assert not any(SECRET.encode() in each for each in sealed)


def test_nonce_comes_from_the_random_source():
    """Twelve bytes of it, for each seal its own."""
    numbers = itertools.count()
    vault = Vault([NEW], random_bytes=lambda size: next(numbers).to_bytes(size))

    sealed = [vault.seal(SECRET, PLACE) for _ in range(2)]

    assert [each[9:21] for each in sealed] == [bytes(11) + b"\x00", bytes(11) + b"\x01"]


@pytest.mark.parametrize("place", ["webhooks|wh_2|secret", "webhooks|wh_1|old_secret"])
def test_sealed_secret_is_bound_to_its_place(place):
    """In another row or column it is refused: nobody can move one to where it is sent out."""
    vault = Vault([NEW])
    sealed = vault.seal(SECRET, PLACE)

    with pytest.raises(StoreError, match="changed or moved"):
        vault.open(sealed, place)


@pytest.mark.parametrize("position", [10, 25, -1])
def test_sealed_secret_that_was_changed_is_refused(position):
    """A byte of nonce, ciphertext or tag is enough."""
    vault = Vault([NEW])
    sealed = bytearray(vault.seal(SECRET, PLACE))
    sealed[position] ^= 1

    with pytest.raises(StoreError, match="changed or moved"):
        vault.open(bytes(sealed), PLACE)


def test_every_master_key_opens_and_the_first_one_seals():
    """While keys are exchanged both are given, the new one first."""
    sealed = Vault([OLD]).seal(SECRET, PLACE)
    both = Vault([NEW, OLD])

    anew = both.reseal(sealed, PLACE)

    assert both.open(sealed, PLACE) == SECRET
    assert Vault([NEW]).open(anew, PLACE) == SECRET
    assert both.reseal(anew, PLACE) is None


def test_missing_key_is_named_and_so_is_the_remedy():
    """By its id, which tells nothing about it."""
    sealed = Vault([OLD]).seal(SECRET, PLACE)

    with pytest.raises(StoreError, match=f"{sealed[1:9].hex()}.*RINGSIDE_MASTER_KEYS"):
        Vault([NEW]).open(sealed, PLACE)


def test_without_master_keys_a_key_lies_beside_the_store(key_file):
    """It is made with the first secret, for its owner alone, and found again."""
    vault = Vault((), key_file)
    assert not key_file.exists()

    sealed = vault.seal(SECRET, PLACE)

    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert Vault((), key_file).open(sealed, PLACE) == SECRET


def test_master_keys_open_what_the_key_file_sealed(key_file):
    """Whoever sets them later loses nothing; from then on they seal."""
    sealed = Vault((), key_file).seal(SECRET, PLACE)
    vault = Vault([NEW], key_file)

    anew = vault.reseal(sealed, PLACE)

    assert vault.open(sealed, PLACE) == SECRET
    assert Vault([NEW]).open(anew, PLACE) == SECRET


def test_key_file_is_exchanged_in_two_steps(key_file):
    """Until everything is sealed anew the old key is there too; afterwards it is gone."""
    vault = Vault((), key_file)
    sealed = vault.seal(SECRET, PLACE)

    vault.renew_key_file()
    between = Vault((), key_file)
    anew = between.reseal(sealed, PLACE)
    between.drop_old_keys()

    after = Vault((), key_file)
    assert after.open(anew, PLACE) == SECRET
    with pytest.raises(StoreError, match="sealed with the key"):
        after.open(sealed, PLACE)


def test_damaged_key_file_is_no_new_key(key_file):
    """It is refused, never replaced: its key may still be needed."""
    key_file.write_text("what is this\n")

    with pytest.raises(StoreError, match="is damaged"):
        Vault((), key_file)
    assert key_file.read_text() == "what is this\n"


def test_sealed_form_of_the_future_is_refused():
    """A first byte that this version does not know."""
    with pytest.raises(StoreError, match="a form that this version does not know"):
        Vault([NEW]).open(b"\x02" + bytes(60), PLACE)
