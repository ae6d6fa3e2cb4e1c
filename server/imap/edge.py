"""The IMAP edge of a worker: two sockets, STARTTLS and implicit TLS (RFC 8314), over one store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from server.app import Context, Sockets
from server.base import clock
from server.base.limits import IMAP_LOGIN_SECONDS, WORKER_BUFFER_BYTES
from server.base.proxy import behind
from server.base.tls import server_context
from server.base.tls_stream import TlsStream
from server.identity.accounts import Accounts
from server.identity.facility.sign_in import facility_tokens
from server.identity.model import Rights
from server.identity.tokens import verifier
from server.imap.budget import Budget
from server.imap.connection import Connection, Connections
from server.imap.session import Services
from server.imap.view import Views
from server.mailbox.feed import Feed
from server.mailbox.keys import Following
from server.mailbox.store import Store
from server.trust.follow import Follower

_BACKLOG = 1_024  # practices poll on the same minute


class ImapEdge:
    """A serving edge; see `server.app.Running`."""

    def __init__(
        self, servers: list[asyncio.Server], connections: Connections, followed: Sequence[Feed | Follower | Following]
    ) -> None:
        self._servers = servers
        self._connections = connections
        self._followed = followed

    async def drain(self, deadline: float) -> None:
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.farewell()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connections.none_left.wait(), deadline - clock.monotonic())

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.abort()
        for one in self._followed:
            await one.close()


async def serve(context: Context, sockets: Sockets) -> ImapEdge:
    """Listen on `imap` (STARTTLS) and `imap_tls`. The context must hold edge keys and keyring."""
    if context.edge is None or context.keyring is None or context.anchors is None:
        raise ValueError("the imap role needs edge keys, the keyring and the anchors")
    settings, listener = context.settings, context.listener
    anchors = [settings.path(anchor) for anchor in settings.trust.anchors]
    tls = server_context(settings.path(listener.certificate), settings.path(listener.private_key), anchors)
    feed = Feed(context.pool)
    feed.start()
    # Of the trust space only what is known of revocations: nobody speaks for a domain here.
    known = settings.trust.model_copy(update={"white_list": ""})
    trust = await Follower.start(context.pool, known, context.anchors, context.log)
    store = Store(context.pool, context.edge, context.keyring, context.anchors, settings.transport.quota_bytes)
    services = Services(
        accounts=Accounts(
            context.pool,
            context.edge,
            tokens=verifier(settings, context.pool, context.edge),
            facilities=facility_tokens(settings, context.pool, context.edge, trust.space),
            trust=trust.space,
            needs=Rights.READ,
        ),
        store=store,
        views=Views(feed),
        budget=Budget(WORKER_BUFFER_BYTES),
        now=clock.now,
        log=context.log,
        max_message_bytes=settings.transport.max_message_bytes,
    )
    connections = Connections()
    loop = asyncio.get_running_loop()
    proxies = settings.imap.proxy_networks
    servers = [
        await loop.create_server(
            behind(proxies, lambda: Connection(services, tls, False, connections)),
            sock=sockets["imap"],
            backlog=_BACKLOG,
        ),
        await loop.create_server(
            behind(proxies, lambda: TlsStream(Connection(services, tls, True, connections), tls, IMAP_LOGIN_SECONDS)),
            sock=sockets["imap_tls"],
            backlog=_BACKLOG,
        ),
    ]
    return ImapEdge(servers, connections, (feed, trust, store.follow()))
