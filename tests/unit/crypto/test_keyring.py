from __future__ import annotations

import json
import pickle
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto import keyfile
from crypto.errors import CryptoError, IntegrityError, KeyMissing
from crypto.keyring import BUCKETS, Keyring
from crypto.sealing import MailboxKey

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    Keyring.create(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture(scope="module")
def mailbox() -> MailboxKey:
    return MailboxKey.generate()


def test_private_key_survives_a_restart(keys: Path, mailbox: MailboxKey) -> None:
    wrapped = Keyring.open(keys).wrap_private(7, mailbox)
    assert mailbox.seeds()[1:] not in wrapped
    assert Keyring.open(keys).unwrap_private(7, wrapped).seeds() == mailbox.seeds()


def test_identity_key_is_kept(keys: Path) -> None:
    assert Keyring.open(keys).identity_key == Keyring.open(keys).identity_key
    assert len(Keyring.open(keys).identity_key) == 32


def test_files_are_for_their_owner_alone(keys: Path) -> None:
    for path in keys.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700


def test_bucket_keys_stand_wrapped(keys: Path) -> None:
    keyring = Keyring.open(keys)
    text = (keys / "keyring.json").read_text()
    assert keyfile.to_text(keyring.identity_key) not in text
    assert len(json.loads(text)["buckets"]) == BUCKETS


def test_keyring_is_never_made_over_another(keys: Path) -> None:
    before = (keys / "keyring.json").read_bytes()
    with pytest.raises(FileExistsError):
        Keyring.create(keys)
    assert (keys / "keyring.json").read_bytes() == before


def test_wrapped_key_is_bound_to_its_owner(keys: Path, mailbox: MailboxKey) -> None:
    keyring = Keyring.open(keys)
    wrapped = keyring.wrap_private(7, mailbox)
    with pytest.raises(IntegrityError):
        keyring.unwrap_private(7 + BUCKETS, wrapped)  # the same bucket
    with pytest.raises(IntegrityError):
        keyring.unwrap_private(8, wrapped)
    for cut in (0, 3, 4, 50, len(wrapped) - 1):
        with pytest.raises(IntegrityError):
            keyring.unwrap_private(7, wrapped[:cut])


def test_destroyed_generation_opens_no_more(keys: Path, mailbox: MailboxKey) -> None:
    keyring = Keyring.open(keys)
    bucket = keyring.bucket_of(7)
    old = keyring.wrap_private(7, mailbox)
    keyring.renew([bucket])
    new = keyring.wrap_private(7, mailbox)
    assert Keyring.open(keys).unwrap_private(7, old).seeds() == mailbox.seeds()
    keyring.destroy([(bucket, 1)])
    for one in (keyring, Keyring.open(keys)):
        assert one.unwrap_private(7, new).seeds() == mailbox.seeds()
        with pytest.raises(KeyMissing):
            one.unwrap_private(7, old)
    with pytest.raises(KeyMissing):
        keyring.destroy([(bucket, 1)])


def test_current_generation_cannot_be_destroyed(keys: Path, mailbox: MailboxKey) -> None:
    keyring = Keyring.open(keys)
    wrapped = keyring.wrap_private(7, mailbox)
    with pytest.raises(CryptoError):
        keyring.destroy([(7, 1)])
    assert Keyring.open(keys).unwrap_private(7, wrapped).seeds() == mailbox.seeds()


def test_another_copy_learns_of_a_new_key_when_it_meets_one(keys: Path, mailbox: MailboxKey) -> None:
    """A running process opens what was wrapped after it read the keyring, and forgets what was destroyed."""
    running, operator = Keyring.open(keys), Keyring.open(keys)
    old = operator.wrap_private(7, mailbox)
    operator.renew_master()
    operator.renew(range(BUCKETS))
    new = operator.wrap_private(7, mailbox)
    assert running.unwrap_private(7, new).seeds() == mailbox.seeds()
    assert running.version == 2
    assert not running.refresh()
    operator.destroy([(7, 1)])
    assert running.refresh()
    with pytest.raises(KeyMissing):
        running.unwrap_private(7, old)


def test_what_is_retired_opens_for_who_asks_for_it_until_it_is_destroyed(keys: Path, mailbox: MailboxKey) -> None:
    keyring = Keyring.open(keys)
    old = keyring.wrap_private(7, mailbox)
    keyring.renew(range(8))
    with pytest.raises(CryptoError):
        keyring.retire([(7, 2)], NOON)
    keyring.retire(keyring.generations(), NOON)
    assert keyring.retired() == ({(n, 1) for n in range(8)}, NOON)
    assert "1" not in json.loads((keys / "keyring.json").read_text())["buckets"][7]
    assert keys not in Path(f"{keys}-retired.json").parents  # running processes may read the folder
    with pytest.raises(KeyMissing):
        Keyring.open(keys).unwrap_private(7, old)
    keyring.renew_master()
    keyring.renew([7])
    keyring.retire([(7, 2)], NOON)
    assert Keyring.open(keys, retired=True).unwrap_private(7, old).seeds() == mailbox.seeds()
    keyring.destroy(keyring.retired()[0])
    assert keyring.retired() == (set(), None)
    with pytest.raises(KeyMissing):
        Keyring.open(keys, retired=True).unwrap_private(7, old)


@pytest.mark.parametrize("step", ["_save_retired", "_save_keyring"])
def test_a_power_cut_while_retiring_loses_nothing(
    keys: Path, mailbox: MailboxKey, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    keyring = Keyring.open(keys)
    old = keyring.wrap_private(7, mailbox)
    keyring.renew([7])

    def cut(self: Keyring, *given: object) -> None:
        raise OSError("power")

    with monkeypatch.context() as patched:
        patched.setattr(Keyring, step, cut)
        with pytest.raises(OSError, match="power"):
            keyring.retire([(7, 1)], NOON)
    again = Keyring.open(keys, retired=True)
    assert again.unwrap_private(7, old).seeds() == mailbox.seeds()
    again.retire([(7, 1)], NOON)
    again.destroy([(7, 1)])
    with pytest.raises(KeyMissing):
        Keyring.open(keys, retired=True).unwrap_private(7, old)


def test_two_writers_do_not_undo_each_other(keys: Path) -> None:
    one, other = Keyring.open(keys), Keyring.open(keys)
    one.renew([1])
    other.renew([2])
    newest = Keyring.open(keys)
    assert (newest.generation(1), newest.generation(2)) == (2, 2)


def test_new_master_opens_all_and_the_old_file_is_of_no_use(keys: Path, mailbox: MailboxKey) -> None:
    keyring = Keyring.open(keys)
    wrapped, identity = keyring.wrap_private(7, mailbox), keyring.identity_key
    old_master, old_keyring = (keys / "master.json").read_bytes(), (keys / "keyring.json").read_bytes()
    keyring.renew_master()
    again = Keyring.open(keys)
    assert again.unwrap_private(7, wrapped).seeds() == mailbox.seeds()
    assert again.identity_key == identity
    assert list(json.loads((keys / "master.json").read_text())["versions"]) == ["2"]
    # What an old block of the disk may still hold does not open with the new master.
    (keys / "keyring.json").write_bytes(old_keyring)
    with pytest.raises(KeyMissing):
        Keyring.open(keys)
    (keys / "master.json").write_bytes(old_master)
    assert Keyring.open(keys).identity_key == identity  # so it was the master that kept it shut


def test_power_cut_before_the_new_master_is_used_loses_nothing(
    keys: Path, mailbox: MailboxKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring.open(keys)
    wrapped = keyring.wrap_private(7, mailbox)

    def cut(self: Keyring) -> None:
        raise OSError("power")

    with monkeypatch.context() as patched:
        patched.setattr(Keyring, "_save_keyring", cut)
        with pytest.raises(OSError, match="power"):
            keyring.renew_master()
    again = Keyring.open(keys)
    assert again.unwrap_private(7, wrapped).seeds() == mailbox.seeds()
    again.renew_master()
    assert Keyring.open(keys).unwrap_private(7, wrapped).seeds() == mailbox.seeds()


@pytest.mark.parametrize("after", [False, True])
def test_power_cut_between_link_and_zeroing_loses_nothing(keys: Path, mailbox: MailboxKey, after: bool) -> None:
    keyring = Keyring.open(keys)
    wrapped = keyring.wrap_private(7, mailbox)
    old = keys / ".keyring.json.old"
    if after:
        old.write_bytes((keys / "keyring.json").read_bytes())
    else:
        old.hardlink_to(keys / "keyring.json")
    keyring.renew([9])
    assert not old.exists()
    assert Keyring.open(keys).unwrap_private(7, wrapped).seeds() == mailbox.seeds()


def test_failed_write_leaves_the_old_file(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (keys / "keyring.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    keyring = Keyring.open(keys)
    with monkeypatch.context() as patched:
        patched.setattr(keyfile.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            keyring.renew([3])
    assert (keys / "keyring.json").read_bytes() == before
    assert Keyring.open(keys).generation(3) == 1
    assert {path.name for path in keys.iterdir()} <= {"master.json", "keyring.json", "lock", ".keyring.json.old"}


@pytest.mark.parametrize("name", ["master.json", "keyring.json"])
@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "versions": {"1": "x"}}', "[" * 100_000]
)
def test_damaged_file_is_refused_without_showing_it(keys: Path, name: str, text: str) -> None:
    (keys / name).write_text(text)
    with pytest.raises(CryptoError) as error:
        Keyring.open(keys)
    assert str(keys) in str(error.value)


def test_missing_and_open_files_are_refused(keys: Path) -> None:
    (keys / "master.json").chmod(0o644)
    with pytest.raises(CryptoError, match="chmod 600"):
        Keyring.open(keys)
    (keys / "master.json").unlink()
    with pytest.raises(KeyMissing, match=r"master\.json"):
        Keyring.open(keys)


def test_keyring_shows_itself_nowhere(keys: Path) -> None:
    keyring = Keyring.open(keys)
    assert "hidden" in repr(keyring)
    with pytest.raises(TypeError):
        pickle.dumps(keyring)
