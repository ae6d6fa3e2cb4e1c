"""COMPRESS (RFC 4978): the dialogue and the edge put the stream under deflate once the tagged OK is written."""

from __future__ import annotations

from dataclasses import dataclass

from server.imap.grammar.cursor import Cursor
from server.imap.responses import Declined, Done, Illegal
from server.imap.session import Session


@dataclass(frozen=True, slots=True)
class Compress:
    algorithm: str


def parse_compress(cursor: Cursor) -> Compress:
    """compress = "COMPRESS" SP algorithm"""
    cursor.sp()
    return Compress(cursor.word("an algorithm"))


async def compress(session: Session, command: Compress) -> Done:
    if command.algorithm != "DEFLATE":
        raise Illegal("Only DEFLATE is offered")
    if session.compressed:
        # RFC 4978 §3
        raise Declined(b"COMPRESSIONACTIVE", "The stream is compressed already")
    session.compressed = True
    return Done("Compressing from here on")
