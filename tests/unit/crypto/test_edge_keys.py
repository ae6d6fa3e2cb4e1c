from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from crypto.blind_index import token
from crypto.edge import EdgeKeys, Salts
from crypto.errors import CryptoError, KeyMissing


def test_edge_keys_survive_a_restart(tmp_path: Path) -> None:
    keys = EdgeKeys.new()
    keys.save(tmp_path / "edge.json")
    assert EdgeKeys.load(tmp_path / "edge.json") == keys
    assert stat.S_IMODE((tmp_path / "edge.json").stat().st_mode) == 0o600


def test_edge_keys_are_not_written_over_by_chance(tmp_path: Path) -> None:
    keys = EdgeKeys.new()
    keys.save(tmp_path / "edge.json")
    with pytest.raises(FileExistsError):
        EdgeKeys.new().save(tmp_path / "edge.json")
    assert EdgeKeys.load(tmp_path / "edge.json") == keys
    newer = EdgeKeys(keys.address, keys.credential, keys.fingerprint, keys.pseudonym, keys.salts.rotated())
    newer.save(tmp_path / "edge.json", replace=True)
    assert EdgeKeys.load(tmp_path / "edge.json").salts.current == 2
    assert {path.name for path in tmp_path.iterdir()} == {"edge.json"}


def test_all_secrets_differ_and_none_is_shown() -> None:
    keys = EdgeKeys.new()
    secrets = [keys.address, keys.credential, keys.fingerprint, keys.pseudonym, keys.salts.of(1)]
    assert len(set(secrets)) == 5
    for secret in secrets:
        assert repr(secret) not in repr(keys) + repr(keys.salts)
        assert secret.hex() not in repr(keys) + repr(keys.salts)


@pytest.mark.parametrize("change", ["format", "address", "salts", "version"])
def test_damaged_file_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "edge.json"
    EdgeKeys.new().save(path)
    stored = json.loads(path.read_text())
    match change:
        case "format":
            stored["format"] = 2
        case "address":
            stored["address"] = "AAAA"
        case "salts":
            del stored["salts"]
        case "version":
            stored["salts"]["current"] = 5
    path.write_text(json.dumps(stored))
    with pytest.raises(CryptoError):
        EdgeKeys.load(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyMissing, match=r"edge\.json"):
        EdgeKeys.load(tmp_path / "edge.json")


@pytest.mark.parametrize("versions", [{}, {1: bytes(31)}, {0: bytes(32)}, {65_536: bytes(32)}])
def test_bad_salts_are_refused(versions: dict[int, bytes]) -> None:
    with pytest.raises(CryptoError):
        Salts(next(iter(versions), 1), versions)


def test_token_depends_on_key_and_value_alone() -> None:
    key, other = bytes(range(32)), bytes(32)
    assert token(key, "a@b.test") == token(key, "a@b.test")
    assert len({token(key, "a@b.test"), token(other, "a@b.test"), token(key, "A@b.test"), token(key, "")}) == 4
    # Fixed by a value: stored tokens must be found again after any change of this code.
    assert token(key, "a@b.test").hex() == "ec737cf0ed7722e3682221d88e3ca801e63bd80d591e15fd2d19a607881a9efb"
    with pytest.raises(CryptoError):
        token(b"short", "x")
