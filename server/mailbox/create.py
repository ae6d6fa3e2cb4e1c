"""New mailboxes: keys, folders, the address given for ever. Thousands at a time, one transaction a batch.

Spare owners are mailboxes without a person, made ahead by the jobs role, so that an edge (which cannot wrap a private
key) can open a mailbox for somebody.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

import asyncpg

from crypto.blind_index import token
from crypto.edge import EdgeKeys
from crypto.keyring import Keyring
from crypto.sealing import KEY_BYTES, MailboxKey, seal, wrap
from server.audit.sealed import make_reader
from server.audit.trail import Audit
from server.base.errors import Reason, Refused
from server.identity import holders
from server.identity import queries as identity_queries
from server.identity.local import standing
from server.mail.addresses import normalise, valid
from server.mailbox import queries
from server.mailbox.beside import signing_keys
from server.mailbox.blocks import queries as block_queries
from server.mailbox.keys import OwnerKey, identity_context, identity_text, owner_key
from server.mailbox.model import (
    NEW_FOLDERS,
    Created,
    Identity,
    NewMailbox,
    OwnerKind,
    OwnerState,
)
from server.mailbox.routes import proof


class AddressTaken(Refused):
    """Some addresses are taken or stand twice in the list; `addresses` names them, for the operator alone."""

    def __init__(self, addresses: Sequence[str]) -> None:
        super().__init__(Reason.ADDRESS_TAKEN, "An address is given once and for ever; some of these are taken.")
        self.addresses = list(addresses)


async def create(
    connection: asyncpg.Connection,
    keyring: Keyring,
    edge: EdgeKeys,
    new: Sequence[NewMailbox],
    actor: str = "operator",
) -> list[Created]:
    """Create mailboxes, all or none, with INBOX, Sent, Drafts, Trash, Junk and Archive; in the order given.

    Raises AddressTaken, Refused(BAD_ADDRESS).
    """
    addresses = [_address(mailbox) for mailbox in new]
    tokens = [token(edge.address, address) for address in addresses]
    async with connection.transaction():
        await make_reader(connection, keyring, edge)
        known = {row["token"] for row in await connection.fetch(queries.TAKEN, tokens)}
        twice = {t for t, times in Counter(tokens).items() if times > 1}
        taken = sorted({a for a, t in zip(addresses, tokens, strict=True) if t in known or t in twice})
        if taken:
            raise AddressTaken(taken)
        owners = await _new_owners(connection, [mailbox.kind for mailbox in new])
        identities = [
            key.wrap_identity(Identity(address, mailbox.name, mailbox.rpps, mailbox.finess, mailbox.ins))
            for key, address, mailbox in zip(owners, addresses, new, strict=True)
        ]
        publics = await _insert(connection, keyring, owners, OwnerState.ACTIVE, identities)
        proofs = [proof(edge, t, k.owner_id, p) for t, k, p in zip(tokens, owners, publics, strict=True)]
        await connection.execute(queries.ADD_ADDRESSES, tokens, [key.owner_id for key in owners], proofs)
        created = [Created(key.owner_id, address) for key, address in zip(owners, addresses, strict=True)]
        people = [
            holders.Binding(key.owner_id, address, holders.of_rpps(mailbox.rpps))
            for key, address, mailbox in zip(owners, addresses, new, strict=True)
            if mailbox.rpps and mailbox.kind in holders.PROFESSIONALS
        ]
        await holders.bind(connection, edge, people, actor)
        await Audit(edge).mailbox_created(connection, actor, [(c.owner_id, c.address) for c in created])
    return created


async def close(connection: asyncpg.Connection, owner_id: int) -> bool:
    """Close a mailbox: nothing is delivered or opened any more, nobody signs in; its address is never given again."""
    async with connection.transaction():
        closed = await connection.fetchval(queries.CLOSE_OWNER, owner_id)
        await connection.execute(queries.CLOSE_ADDRESSES, owner_id)
        await connection.execute(block_queries.DROP_OWNERS_BLOCKS, owner_id)
        await signing_keys.drop(connection, owner_id)
        await connection.execute(identity_queries.UNBIND, owner_id)
        await standing.forget(connection, owner_id)
    return bool(closed)


async def fill_spares(connection: asyncpg.Connection, keyring: Keyring, wanted: int) -> int:
    """Make spare owners until there are `wanted`; returns how many were made. For the jobs role."""
    async with connection.transaction():
        missing = wanted - int(await connection.fetchval(queries.COUNT_SPARE))
        if missing > 0:
            owners = await _new_owners(connection, [OwnerKind.PATIENT] * missing)
            await _insert(connection, keyring, owners, OwnerState.SPARE, [None] * missing)
    return max(missing, 0)


async def claim_spare(connection: asyncpg.Connection, edge: EdgeKeys, new: NewMailbox) -> Created | None:
    """Turn a spare owner into somebody's mailbox, without a private key; None when there is no spare one.

    Raises AddressTaken, Refused(BAD_ADDRESS), and what the
    database says when the address is being given at the same moment.
    """
    address = _address(new)
    address_token = token(edge.address, address)
    async with connection.transaction():
        if await connection.fetch(queries.TAKEN, [address_token]):
            raise AddressTaken([address])
        row = await connection.fetchrow(queries.TAKE_SPARE)
        if row is None or row["owner_id"] is None:
            return None
        owner_id, public = row["owner_id"], row["public_key"]
        context, key = identity_context(owner_id), os.urandom(KEY_BYTES)
        identity = identity_text(Identity(address, new.name, new.rpps, new.finess, new.ins))
        await connection.fetchval(
            queries.NAME_SPARE, owner_id, new.kind, wrap(key, identity, context), seal(public, key, context)
        )
        await connection.execute(
            queries.ADD_ADDRESSES, [address_token], [owner_id], [proof(edge, address_token, owner_id, public)]
        )
        await Audit(edge).mailbox_created(connection, "edge", [(owner_id, address)])
    return Created(owner_id, address)


def _address(new: NewMailbox) -> str:
    address = normalise(new.address)
    if not valid(address):
        raise Refused(Reason.BAD_ADDRESS, "This is no address of a mailbox.")
    return address


async def _new_owners(connection: asyncpg.Connection, kinds: Sequence[OwnerKind]) -> list[OwnerKey]:
    numbers = [row[0] for row in await connection.fetch(queries.NUMBERS, len(kinds))]
    return [
        owner_key(number, kind, OwnerState.ACTIVE, MailboxKey.generate())
        for number, kind in zip(numbers, kinds, strict=True)
    ]


async def _insert(
    connection: asyncpg.Connection,
    keyring: Keyring,
    owners: Sequence[OwnerKey],
    state: OwnerState,
    identities: Sequence[bytes | None],
) -> list[bytes]:
    publics = [key.private.public() for key in owners]
    await connection.execute(queries.WRAPPING)
    keyring.refresh()
    await connection.execute(
        queries.ADD_OWNERS,
        [key.owner_id for key in owners],
        [None if state == OwnerState.SPARE else key.kind for key in owners],
        [state] * len(owners),
        publics,
        [keyring.wrap_private(key.owner_id, key.private) for key in owners],
        identities,
        len(NEW_FOLDERS),
    )
    folders = [
        (key.owner_id, number, key.folder_name(number, name), key.name_token(name), use)
        for key in owners
        for number, (name, use) in enumerate(NEW_FOLDERS, 1)
    ]
    await connection.execute(queries.ADD_FOLDERS, *(list(column) for column in zip(*folders, strict=True)), True)
    return publics
