"""Passwords that people choose."""

from __future__ import annotations

import asyncio

import pytest

from crypto.edge import EdgeKeys
from server.base.errors import Reason, TryLater
from server.base.limits import PASSWORD_CHARACTERS, PASSWORDS_AT_ONCE, PASSWORDS_WAITING
from server.identity import chosen
from server.identity.chosen import ChosenPasswords, Weakness, weakness

GOOD = "trois chats dorment"


@pytest.mark.parametrize(
    ("password", "why"),
    [
        (GOOD, None),
        ("x7#kQ!pL2vNs", None),
        ("éléphant bleu ciel", None),
        ("onze lettre", Weakness.SHORT),
        ("x" * 11, Weakness.SHORT),
        (GOOD * 20, Weakness.LONG),
        ("aaaaaaaaaaaaaaa", Weakness.COMMON),
        ("abababababab", Weakness.COMMON),
        ("abcdefghijklmnop", Weakness.COMMON),
        ("MotDePasse2026!", Weakness.COMMON),
        ("azertyuiop 123", Weakness.COMMON),
        ("correct horse battery staple", Weakness.COMMON),
        ("280019900100182!", Weakness.OWN),
        ("Jeanne Martin 54", Weakness.OWN),
    ],
)
def test_which_are_taken(password: str, why: Weakness | None) -> None:
    assert weakness(password, ("280019900100182", "Martin")) is why


async def test_a_password_matches_in_its_normal_form_and_under_its_edge_alone() -> None:
    edge = EdgeKeys.new()
    passwords = ChosenPasswords(edge)
    stored = await passwords.hash("éléphant bleu ciel")
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert await passwords.matches(stored, "e\u0301le\u0301phant\u00a0bleu ciel")
    assert not await passwords.matches(stored, "Éléphant bleu ciel")
    assert not await ChosenPasswords(EdgeKeys.new()).matches(stored, "éléphant bleu ciel")
    assert not await passwords.matches("no hash", "éléphant bleu ciel")


async def test_for_nobody_the_same_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = ChosenPasswords(EdgeKeys.new())
    stored = await passwords.hash(GOOD)
    computed: list[str] = []
    real = chosen._verified
    monkeypatch.setattr(chosen, "_verified", lambda kept, keyed: (computed.append(kept), real(kept, keyed))[1])
    assert await passwords.matches(stored, GOOD)
    assert not await passwords.matches(stored, "wrong")
    assert not await passwords.matches(None, GOOD)
    parameters = {kept.rpartition("$")[0].rpartition("$")[0] for kept in computed}
    assert (len(computed), parameters) == (3, {"$argon2id$v=19$m=65536,t=3,p=4"})
    assert len({len(kept) for kept in computed}) == 1


async def test_what_is_past_the_limit_is_another_password() -> None:
    passwords = ChosenPasswords(EdgeKeys.new())
    stored = await passwords.hash("x" * PASSWORD_CHARACTERS)
    assert not await passwords.matches(stored, "x" * (PASSWORD_CHARACTERS + 1))
    assert not await passwords.matches(stored, "x" * 1_000_000)


async def test_few_are_computed_at_once_and_a_bounded_number_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = ChosenPasswords(EdgeKeys.new())
    go, running = asyncio.Event(), []

    async def held(work: object) -> bool:
        running.append(work)
        await go.wait()
        return False

    monkeypatch.setattr(asyncio, "to_thread", held)
    asked = [asyncio.create_task(passwords.matches(None, "x")) for _ in range(PASSWORDS_WAITING)]
    while len(running) < PASSWORDS_AT_ONCE:
        await asyncio.sleep(0)
    with pytest.raises(TryLater) as error:
        await passwords.matches(None, "x")
    assert (error.value.reason, len(running)) == (Reason.BUSY, PASSWORDS_AT_ONCE)
    go.set()
    assert await asyncio.gather(*asked) == [False] * PASSWORDS_WAITING
