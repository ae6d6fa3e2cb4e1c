"""Two workers over one database: what is done by way of one is told by the other, in the order in which it was done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from crypto.smime.anchors import TrustAnchors
from server.base.limits import IMAP_FETCH_BYTES, IMAP_OUTPUT_BYTES
from tests.imap_edge import Access, Client, access
from tests.store_world import PHARMACY, World, message

in_thread = asyncio.to_thread


@asynccontextmanager
async def another(world: World, pki: Path, anchors: TrustAnchors) -> AsyncIterator[Access]:
    """A second worker, with its own connections to the database."""
    pool = await world.database.pool("imap")
    async with access(replace(world, reader_pool=pool), pki, anchors) as running:
        yield running
    pool.terminate()


async def test_what_one_worker_does_another_tells_in_order(
    world: World, imap: Access, pki: Path, anchors: TrustAnchors
) -> None:
    mailbox = await world.mailbox(PHARMACY)
    await mailbox.append(1, message("un"))
    async with another(world, pki, anchors) as other:

        def waiting() -> list[Client]:
            clients = [other.client(PHARMACY) for _ in range(3)]
            for client in clients:
                client.select("INBOX")
                client.send(b"x IDLE\r\n")
                assert client.readline() == b"+ idling\r\n"
            return clients

        def acts() -> None:
            client = imap.client(PHARMACY)
            client.append("INBOX", "", "", message("deux"))
            client.select("INBOX")
            client.store("1", "+FLAGS", "\\Deleted")
            client.append("INBOX", "", "", message("trois"))
            client.expunge()
            client.logout()

        def heard(client: Client) -> tuple[list[bytes], list[int]]:
            """What is told until the client's count is that of the folder, and then the uids that it finds."""
            lines: list[bytes] = []
            count = 1
            while not (count == 2 and any(line.endswith(b" EXPUNGE") for line in lines)):
                lines.append(client.readline().rstrip())
                number = int(lines[-1].split()[1])
                count = number if lines[-1].endswith(b" EXISTS") else count - lines[-1].endswith(b" EXPUNGE")
                assert number <= 3
            client.send(b"DONE\r\n")
            while not client.readline().startswith(b"x OK"):
                continue
            return lines, [int(uid) for uid in client.uid("search", "ALL")[1][0].split()]

        clients = await in_thread(waiting)
        await in_thread(acts)
        for client in clients:
            lines, uids = await in_thread(heard, client)
            # It went when it had its first number, and nobody was told of its flag after that.
            assert [line for line in lines if line.endswith(b" EXPUNGE")] == [b"* 1 EXPUNGE"]
            assert not any(b" FETCH " in line for line in lines[lines.index(b"* 1 EXPUNGE") :])
            assert uids == [2, 3]
            await in_thread(client.logout)


async def test_what_a_reader_does_not_take_waits_in_bounded_memory(world: World, imap: Access) -> None:
    """However much it asked for: a body leaves in pieces, and the next is opened when the last has left."""
    await (await world.mailbox(PHARMACY)).append(1, message("x" * 12_000_000))

    def slow() -> Client:
        client = imap.client(PHARMACY)
        client.select("INBOX")
        client.send(b"".join(b"f%d FETCH 1 (BODY.PEEK[])\r\n" % number for number in range(20)))
        client.sock.recv(1)
        return client

    client = await in_thread(slow)
    (held,) = imap.edge._connections
    async with asyncio.timeout(20):
        while held._writable is None:  # until the sockets' own buffers are full
            await asyncio.sleep(0.01)
    most = IMAP_OUTPUT_BYTES + 3 * IMAP_FETCH_BYTES // 2  # what is allowed, and one piece under TLS on top
    assert 0 < held._transport.get_write_buffer_size() + len(held._out) <= most
    await in_thread(client.sock.close)
