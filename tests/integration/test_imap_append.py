"""Messages that a mail program brings, before the real store: large ones, several at once, in the place of another."""

from __future__ import annotations

import asyncio
import socket

import pytest

from server.base import limits
from server.mailbox import incoming, maintenance
from tests.imap_edge import Access, Client
from tests.store_world import PHARMACY, World, message

LINE = b"iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAYAAAB/HSuDAAAACXBIWXMAAAsTAAALEwEAmpwYAA\r\n"
LARGE = message() + LINE * 30_000  # 2.3 MB
in_thread = asyncio.to_thread


def send(client: Client, command: bytes) -> bytes:
    """A command with its literals, as it is: its tagged answer."""
    client.send(b"x " + command + b"\r\n")
    while not (line := client.readline()).startswith(b"x "):
        assert line.startswith((b"* ", b"+ "))
    return line


def literal(data: bytes) -> bytes:
    return b"{%d+}\r\n%s" % (len(data), data)


async def pieces(world: World) -> int:
    return int(await world.admin.fetchval("SELECT count(*) FROM body_piece"))


async def test_large_and_small_messages_come_together(world: World, imap: Access) -> None:
    small = message("petit", 2)

    def run() -> None:
        client = imap.client(PHARMACY)
        told = send(client, b"APPEND Archive " + b" (\\Seen) ".join(map(literal, (LARGE, small, LARGE + LINE))))
        assert b"APPENDUID" in told
        assert told.split(b"]")[0].endswith(b" 1:3")
        client.select("Archive")
        # In the place of the first: what the others are made of.
        url = b"URL /Archive/;UID=1/;SECTION=HEADER URL /Archive/;UID=3/;SECTION=TEXT"
        assert b"x OK" in send(client, b"UID REPLACE 1 Archive CATENATE (" + url + b")")
        client.logout()

    await in_thread(run)
    folder = await (await world.mailbox(PHARMACY)).folder("Archive")
    header = message()[: message().index(b"\r\n\r\n") + 4]
    assert await world.texts(PHARMACY, folder.folder_id) == [
        small,
        LARGE + LINE,
        header + (LARGE + LINE)[len(header) :],
    ]


async def test_one_that_is_refused_leaves_none_of_them(world: World, imap: Access) -> None:
    def run() -> None:
        client = imap.client(PHARMACY)
        assert b"[TRYCREATE]" in send(client, b"APPEND Nulle " + literal(LARGE))
        assert b"[CANNOT]" in send(client, b"APPEND INBOX " + literal(LARGE) + b" " + literal(b""))
        client.logout()

    await in_thread(run)
    assert await world.texts(PHARMACY) == []
    assert await pieces(world) > 0
    await maintenance.collect_content(world.jobs_pool, stray_seconds=0)
    assert await pieces(world) == 0


async def test_a_client_that_goes_away_leaves_no_half(world: World, imap: Access) -> None:
    def run() -> None:
        client = imap.client(PHARMACY)
        client.send(b"x APPEND INBOX {%d+}\r\n" % len(LARGE) + LARGE[:2_000_000])
        client.sock.shutdown(socket.SHUT_RDWR)

    await in_thread(run)

    def again() -> None:
        client = imap.client(PHARMACY)
        assert b"x OK" in send(client, b"APPEND INBOX " + literal(LARGE))
        client.logout()

    await in_thread(again)
    assert await world.texts(PHARMACY) == [LARGE]


async def test_one_that_takes_longer_than_its_pieces_wait_is_given_up(
    world: World, imap: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "LARGE_MESSAGE_SECONDS", -1)
    assert limits.LARGE_MESSAGE_SECONDS < limits.STRAY_PIECES_SECONDS

    def run() -> None:
        client = imap.client(PHARMACY)
        assert b"x NO [INUSE]" in send(client, b"APPEND INBOX " + literal(LARGE))
        client.logout()

    await in_thread(run)
    assert await world.texts(PHARMACY) == []
