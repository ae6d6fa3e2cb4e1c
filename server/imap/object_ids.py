"""Identifiers that stay (RFC 8474): of a mailbox through every renaming, of a content through every copy."""

from __future__ import annotations


def mailbox_id(folder_id: int) -> bytes:
    """RFC 8474 §4; a folder's number is never given again."""
    return b"MAILBOXID (F%d)" % folder_id


def email_id(content_id: bytes) -> bytes:
    """RFC 8474 §5.1"""
    return b"EMAILID (M%s)" % content_id.hex().encode()


# RFC 8474 §5.2: threads are made when they are asked for (THREAD), and have no identity of their own.
THREAD_ID = b"THREADID NIL"
