"""Keys by which mailboxes sign: given where the authority's key is, renewed, taken back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from crypto.pki import authority
from crypto.pki.hygiene import ENDS_SOON
from crypto.pki.issue import Issued
from server.base import clock
from server.base.settings import Settings
from server.cli.admin import Admin
from server.mailbox import queries as mailbox_queries
from server.mailbox.beside import queries, signing_keys
from server.mailbox.keys import Keys

PAGE = 200  # mailboxes of one transaction, and of one writing of what was issued


def gives(settings: Settings) -> bool:
    """Whether a new mailbox is given its key at once: it is to sign, and the authority's key is here."""
    return settings.sign_messages and (settings.home / "pki" / "root.key").exists()


async def give(admin: Admin, owner_ids: Sequence[int]) -> int:
    """A new key and certificate for each of these mailboxes; returns how many. Raises CryptoError: no authority here.

    An address beyond ASCII gets none: a certificate has no common place for it (RFC 9598 is little read).
    """
    pki, keys, now = admin.settings.home / "pki", Keys(admin.keyring), clock.now()
    root, made = Issued.load(pki, "root"), []
    for owner_id in owner_ids:
        key = await keys.of(admin.connection, owner_id)
        (row,) = await admin.connection.fetch(mailbox_queries.IDENTITY, owner_id)
        identity = key.open_identity(*row)
        if identity.address.isascii():
            made.append((key, signing_keys.issued(root, identity, now, admin.settings.ldap.pki_url)))
    authority.record(pki, [issued.certificate for _, issued in made])
    async with admin.connection.transaction():
        for key, issued in made:
            await signing_keys.add(admin.connection, key, issued, now)
    return len(made)


async def give_all(admin: Admin) -> int:
    """One for each that has none, or whose ends within a month; returns how many were made."""
    made, last, soon = 0, 0, clock.now() + ENDS_SOON
    while rows := await admin.connection.fetch(queries.WITHOUT_SIGNING_KEY, last, soon, PAGE):
        made += await give(admin, [row["owner_id"] for row in rows])
        last = rows[-1]["owner_id"]
    return made


async def take_back(admin: Admin, address: str, reason: x509.ReasonFlags, now: datetime) -> int:
    """Revoke all that a mailbox has and forget its keys; returns how many. The list is written first."""
    key = await Keys(admin.keyring).of(admin.connection, await admin.owner_of(address))
    pairs = await signing_keys.all_of(admin.connection, key)
    for pair in pairs:
        authority.revoke(admin.settings.home / "pki", pair.certificate, now, reason=reason)
    await signing_keys.drop(admin.connection, key.owner_id)
    return len(pairs)
