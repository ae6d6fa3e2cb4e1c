"""What is held for another operator, and what may go wrong with it: on the way, at the peer, in the pointer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.blob import HEADER, SEALED_CHUNK
from server.base import clock, log
from server.base.errors import CaduceeError
from server.base.sections import Transport
from server.base.settings import Settings
from server.base.tls import operator_context, server_context
from server.sender.dialogue import Outcome
from server.sender.download import Downloads, Lost, NotHeld
from server.sender.fetch import Fetches
from server.sender.hold import UNSENT, Holds
from server.sender.mx import Host
from server.sender.work import Due, Message, Work
from server.smtp.held import Found, HeldEdge
from server.smtp.service import Service
from server.transport import pointer as pointers
from server.transport.envelope import Body, SourceKind
from server.transport.pointer import EXTENSION, HELD_BY, RECIPIENT, Pointer
from server.transport.policy import Policy
from server.transport.queued import Addressee, Queued
from server.trust.space import TrustSpace
from tests.dying_peer import Manner, Point, Script
from tests.forged_certificates import Certificates
from tests.store_world import DOCTOR, NOON, PHARMACY, World
from tests.way_out import way_out

THERE = "pairs.example"
SENDER = f"dr.loin@{THERE}"
HERE = PHARMACY.partition("@")[2]
LINE = b"iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAYAAAB/HSuDAAAACXBIWXMAAAsTAAALEwEAmpwYAA\r\n"
Damage = Callable[[AsyncIterator[bytes], Found], AsyncIterator[bytes]]


def letter(megabytes: float = 3, sender: str = SENDER) -> bytes:
    head = f"From: <{sender}>\r\nTo: <{PHARMACY}>\r\nSubject: Scanner\r\nMessage-ID: <1@{THERE}>\r\n\r\n".encode()
    return head + LINE * int(megabytes * 1_000_000 / len(LINE))


class Exchangers:
    """The only host there is."""

    async def of(self, domain: str) -> Sequence[Host]:
        return (Host(f"mx.{domain}", ("127.0.0.1",)),)


class Damaging(HeldEdge):
    """Serves what `damage` makes of it; remembers from where it was asked."""

    damage: Damage | None = None

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.offsets: list[int] = []

    def _parts(self, found: Found) -> AsyncIterator[bytes]:
        self.offsets.append(found.offset)
        whole = super()._parts(found)
        return whole if self.damage is None else self.damage(whole, found)


@dataclass
class Pair:
    """Two operators on one database: what the one holds, the other fetches for its mailboxes."""

    world: World
    settings: Settings
    certificates: Certificates
    trust: TrustSpace
    holds: Holds
    server: Damaging
    port: int
    policies: list[Policy] = field(default_factory=list)

    async def hold(self, data: bytes, *recipients: str, taken: bool = True) -> bytes:
        """The pointer message to `data`."""
        message, work = parcel(recipients or (PHARMACY,), data)
        async with self.holds.hold(message, Pieces(data), work) as held:  # type: ignore[arg-type]
            held.taken = taken
        return held.data

    def downloads(self, kind: str = "member") -> Downloads:
        root = self.certificates.root_path()
        tls = operator_context([root], *self.certificates.path(kind))
        return Downloads(Exchangers(), tls, self.port, "", self.why_not)  # type: ignore[arg-type]

    def why_not(self, domain: str, path: Sequence[bytes]) -> str | None:
        return None if self.trust.may_speak_for(self.trust.peer(path).subject, domain) else "another operator"

    async def fetch(self, pointer: bytes, *recipients: str) -> list[Outcome]:
        message, work = parcel(recipients or (PHARMACY,), pointer)
        policy = Policy(self.world.edge_pool, self.world.edge, self.settings, self.trust)
        fetches = Fetches(self.downloads(), policy, self.world.acceptor)
        outcomes = await fetches.fetch(work, message, pointer)
        await policy.close()
        return outcomes

    async def count(self, table: str) -> int:
        return int(await self.world.admin.fetchval(f"SELECT count(*) FROM {table}"))


@dataclass
class Pieces:
    """Content as the queue gives it."""

    data: bytes

    async def pieces(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), 100_000):
            yield self.data[start : start + 100_000]


def parcel(recipients: Sequence[str], data: bytes) -> tuple[Message, Work]:
    given = {number: Addressee(address, frozenset(), "") for number, address in enumerate(recipients)}
    queued = Queued(SENDER, given, NOON, "", None, Body.EIGHT_BIT, False, False)
    header = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    due = tuple(Due(number, "p", 1, NOON, False, False, "") for number in given)
    domain = HERE if not pointers.is_pointer(data) else HELD_BY + THERE
    return Message(queued, header, len(data), None, "trace"), Work(os.urandom(16), domain, due)


@pytest.fixture
async def pair(world: World, tmp_path: Path) -> AsyncIterator[Pair]:
    certificates = Certificates(tmp_path)
    settings = world.database.settings.model_copy(
        update={"transport": Transport(pointer_bytes=1_000_000), "domain": THERE}
    )
    trust = TrustSpace({THERE: [certificates.subject()], HERE: [certificates.subject()]})
    relay, sender = [await world.database.pool(role) for role in ("relay", "sender")]
    policy = Policy(relay, world.edge, settings, trust)
    tls = server_context(*certificates.path("member"), [certificates.root_path()])
    service = Service(SourceKind.RELAY, THERE, tls, policy, world.acceptor, None, log.configure("relay"), 10**8)  # type: ignore[arg-type]
    server = Damaging(service, relay, world.edge)
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    await server.listen(bound)
    here_settings = settings.model_copy(update={"domain": HERE})
    holds = Holds(sender, world.edge, settings)
    yield Pair(world, here_settings, certificates, trust, holds, server, bound.getsockname()[1])
    await server.close()
    await policy.close()
    relay.terminate()
    sender.terminate()


async def test_whole_once_and_from_where_it_broke(pair: Pair) -> None:
    data = letter()
    pointer = await pair.hold(data, PHARMACY, DOCTOR)
    assert len(pointer) < 2_000

    async def breaking(parts: AsyncIterator[bytes], found: Found) -> AsyncIterator[bytes]:
        sent = 0
        async for part in parts:
            yield part
            sent += len(part)
            if sent > 1_000_000:
                raise OSError("the line broke")

    pair.server.damage = breaking
    outcomes = await pair.fetch(pointer, PHARMACY, DOCTOR)
    assert [one.delivered for one in outcomes] == [True, True]
    assert len(pair.server.offsets) >= 3
    assert pair.server.offsets == sorted(set(pair.server.offsets))
    pair.server.damage = None
    assert [one.delivered for one in await pair.fetch(pointer, PHARMACY, DOCTOR)] == [True, True]  # a worker died
    for address in (PHARMACY, DOCTOR):
        (there,) = await pair.world.texts(address)
        assert there.endswith(data)


def flipped(parts: AsyncIterator[bytes], found: Found) -> AsyncIterator[bytes]:
    return _changed(parts, lambda data: data[:200_000] + bytes([data[200_000] ^ 1]) + data[200_001:])


def swapped(parts: AsyncIterator[bytes], found: Found) -> AsyncIterator[bytes]:
    one, two = (slice(HEADER + n * SEALED_CHUNK, HEADER + (n + 1) * SEALED_CHUNK) for n in (1, 2))
    return _changed(parts, lambda data: data[: one.start] + data[two] + data[one] + data[two.stop :])


def replayed(parts: AsyncIterator[bytes], found: Found) -> AsyncIterator[bytes]:
    one, two = (slice(HEADER + n * SEALED_CHUNK, HEADER + (n + 1) * SEALED_CHUNK) for n in (1, 2))
    return _changed(parts, lambda data: data[: two.start] + data[one] + data[two.stop :])


async def _changed(parts: AsyncIterator[bytes], change: Callable[[bytes], bytes]) -> AsyncIterator[bytes]:
    data = b"".join([part async for part in parts])
    yield change(data)


@pytest.mark.parametrize("damage", [flipped, swapped, replayed])
async def test_what_was_changed_is_not_delivered(pair: Pair, damage: Damage) -> None:
    pointer = await pair.hold(letter())
    pair.server.damage = damage
    (outcome,) = await pair.fetch(pointer)
    assert (outcome.delivered, outcome.permanent, outcome.status) == (False, True, "5.6.0")
    assert await pair.world.texts(PHARMACY) == []


async def test_another_blob_or_a_shorter_one_is_not_this_message(pair: Pair) -> None:
    first, second = [pointers.read(await pair.hold(letter(size))) for size in (3, 2)]
    await pair.world.admin.execute("DELETE FROM held_piece WHERE held_id = $1", first.held_id)
    copied = "INSERT INTO held_piece SELECT $1, number, data FROM held_piece WHERE held_id = $2"
    await pair.world.admin.execute(copied, first.held_id, second.held_id)
    await pair.world.admin.execute(
        "UPDATE held_message h SET size = (SELECT sum(length(data)) FROM held_piece p WHERE p.held_id = h.held_id)"
    )
    (outcome,) = await pair.fetch(first.to_message(b"From: <x@y.z>\r\n\r\n"))
    assert (outcome.permanent, outcome.status) == (True, "5.6.0")
    other_digest = replace(second, digest=bytes(32)).to_message(b"From: <x@y.z>\r\n\r\n")
    (outcome,) = await pair.fetch(other_digest)
    assert (outcome.permanent, outcome.status) == (True, "5.6.0")
    assert await pair.world.texts(PHARMACY) == []


async def test_a_peer_that_sends_without_end_is_left(pair: Pair) -> None:
    async def endless(parts: AsyncIterator[bytes], found: Found) -> AsyncIterator[bytes]:
        with contextlib.suppress(OSError):  # there is no more of it
            async for part in parts:
                yield part
        while True:
            yield bytes(100_000)

    pointer = await pair.hold(letter())
    await pair.world.admin.execute("UPDATE held_message SET size = size * 1000")
    pair.server.damage = endless
    (outcome,) = await pair.fetch(pointer)
    assert (outcome.permanent, outcome.status) == (True, "5.6.0")
    assert await pair.world.texts(PHARMACY) == []


async def asked(pair: Pair, pointer: Pointer, *, kind: str = "member", recipient: str = PHARMACY) -> int:
    """How many octets somebody gets. Raises Lost, NotHeld."""
    async with pair.downloads(kind).open(THERE, pointer, recipient, 0) as (_, octets):
        return sum([len(data) async for data in octets])


async def test_who_may_fetch_it(pair: Pair) -> None:
    pointer = pointers.read(await pair.hold(letter()))
    assert await asked(pair, pointer) > pointer.size
    for stranger in (
        asked(pair, pointer, kind="other name"),  # of the same root, listed for nothing here
        asked(pair, pointer, recipient=DOCTOR),  # not written to
        asked(pair, pointer, recipient=""),
        asked(pair, replace(pointer, held_id=os.urandom(16))),
    ):
        with pytest.raises(NotHeld):
            await stranger
    with pytest.raises(Lost):
        await asked(pair, pointer, kind="other root")
    await pair.world.admin.execute("UPDATE held_message SET ends_at = now() - interval '1 second'")
    with pytest.raises(NotHeld):
        await asked(pair, pointer)
    (outcome,) = await pair.fetch(pointer.to_message(b"From: <x@y.z>\r\n\r\n"))
    assert (outcome.permanent, outcome.status) == (True, "5.4.7")


async def test_no_certificate_and_no_request(pair: Pair) -> None:
    pointer = pointers.read(await pair.hold(letter()))
    tls = pair.certificates.client(None, pair.certificates.root_path())
    for request, status in (
        (f"GET {pointer.path} HTTP/1.1\r\nHost: x\r\n{RECIPIENT}: {PHARMACY}\r\n\r\n", b"403"),
        ("NONSENSE\r\n\r\n", b""),
        ("GET / HTTP/1.1\r\nHost: x\r\nX: " + "x" * 20_000 + "\r\n\r\n", b""),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", pair.port, ssl=tls)
        writer.write(request.encode())
        answer = await reader.read()
        writer.close()
        assert status in answer[:20]
        assert b"200" not in answer[:20]


async def test_its_own_header_is_judged_not_the_pointers(pair: Pair) -> None:
    pointer = await pair.hold(letter(sender="quelqu.un@ailleurs.example"))
    (outcome,) = await pair.fetch(pointer)
    assert (outcome.permanent, outcome.status) == (True, "5.7.1")
    data, both = letter(2), (PHARMACY, f"nobody@{HERE}")
    outcome, other = await pair.fetch(await pair.hold(data, *both), *both)
    assert (outcome.delivered, other.status) == (True, "5.1.1")
    (there,) = await pair.world.texts(PHARMACY)
    assert there.endswith(data)


async def test_a_pointer_leads_to_its_senders_operator_alone(pair: Pair) -> None:
    policy = Policy(pair.world.edge_pool, pair.world.edge, pair.settings, pair.trust)
    pem = pair.certificates.path("member")[0].read_bytes()
    peer = pair.trust.peer([x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)])
    header = letter(0)
    pointer = pointers.read(await pair.hold(letter()))
    assert policy.leads_to(peer, SENDER, header) is None
    held = policy.leads_to(peer, SENDER, pointer.to_message(header))
    assert held is not None
    assert held.domain == HELD_BY + THERE
    for wrong, reverse_path in (
        (replace(pointer, domain="127.0.0.1"), SENDER),
        (replace(pointer, domain="ailleurs.example"), SENDER),
        (replace(pointer, size=10**9, padded=pointers.padded_size(10**9)), SENDER),
        (replace(pointer, padded=pointer.padded + 1), SENDER),
        (pointer, ""),
    ):
        with pytest.raises(CaduceeError):
            policy.leads_to(peer, reverse_path, wrong.to_message(header))
    await policy.close()


async def test_neither_key_nor_text_rests_beside_it_and_all_of_it_ends(pair: Pair) -> None:
    pointer = pointers.read(await pair.hold(letter(2)))
    row = await pair.world.admin.fetchrow("SELECT * FROM held_message")
    data = b"".join(one["data"] for one in await pair.world.admin.fetch("SELECT data FROM held_piece ORDER BY number"))
    assert len(data) == row["size"]
    assert pointer.padded > pointer.size
    for secret in (pointer.key, pointer.salt, LINE, b"Scanner", PHARMACY.encode()):
        assert secret not in data
        assert secret not in str(dict(row)).encode()
    await pair.world.admin.execute("DELETE FROM held_message")
    await pair.hold(letter(2), taken=False)
    assert (await pair.count("held_message"), await pair.count("held_piece")) == (0, 0)
    for then, left in ((clock.now(), 1), (clock.now() - UNSENT - timedelta(minutes=1), 0)):
        await pair.hold(letter(2))
        # Its process died before it could say so.
        await pair.world.admin.execute("UPDATE held_message SET taken = false, created_at = $1", then)
        assert not await pair.holds.collect()
        assert await pair.count("held_message") == left
        await pair.world.admin.execute("DELETE FROM held_message")
    await pair.hold(letter(2))
    await pair.world.admin.execute("UPDATE held_message SET created_at = $1", clock.now() - 2 * UNSENT)
    await pair.holds.collect()
    assert await pair.count("held_message") == 1
    await pair.world.admin.execute("UPDATE held_message SET ends_at = now()")
    await pair.holds.collect()
    assert (await pair.count("held_message"), await pair.count("held_piece")) == (0, 0)


OFFERS = Script(times=0, extensions=(*Script.extensions, EXTENSION))


@pytest.mark.parametrize(
    ("script", "left"),
    [
        (OFFERS, 1),
        (replace(OFFERS, times=1, point=Point.MAIL, manner=Manner.PERMANENT), 0),
        (replace(OFFERS, times=1, point=Point.RECEIVED, manner=Manner.PERMANENT), 0),
        (replace(OFFERS, times=1, point=Point.RECEIVED, manner=Manner.TEMPORARY), 1),  # the second attempt's
        (replace(OFFERS, times=1, point=Point.RECEIVED, manner=Manner.RESET), 2),  # who may have it may fetch it
        (Script(times=0), 0),  # takes no pointers: it gets the message
    ],
)
async def test_a_failed_send_leaves_nothing_behind(world: World, tmp_path: Path, script: Script, left: int) -> None:
    async with way_out(world, tmp_path) as out:
        out.settings = out.settings.model_copy(update={"transport": Transport(pointer_bytes=1_000_000)})
        domain = out.peer(1, script)
        await out.write(domain, data=letter(2, DOCTOR))
        await out.start()
        while await out.rows():
            await out.due()
            await asyncio.sleep(0.05)
        assert await world.admin.fetchval("SELECT count(*) FROM held_message WHERE taken") == left
        assert await world.admin.fetchval("SELECT count(*) FROM held_message") == left
        got = out.peers[domain].accepted
        assert all(pointers.is_pointer(one) == (EXTENSION in script.extensions) for one in got)
        assert bool(got) == (bool(left) or script == Script(times=0))
