"""The SMTP edges of one worker: listeners, TLS, sessions, and their end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from functools import partial

from server.app import Context, Sockets
from server.base import clock
from server.base.log import Pseudonyms
from server.base.proxy import behind
from server.base.sections import Network
from server.base.tls import server_context
from server.identity.accounts import Accounts
from server.identity.facility.sign_in import facility_tokens
from server.identity.model import Rights
from server.identity.tokens import verifier
from server.mailbox.beside.handed import Handed
from server.smtp import reply_codes as r
from server.smtp.arrival import Arrival
from server.smtp.held import HeldEdge
from server.smtp.service import Service
from server.smtp.session import Session
from server.transport.accept import Acceptor
from server.transport.envelope import SourceKind
from server.transport.policy import Policy
from server.trust.follow import Follower


async def serve_submission(context: Context, sockets: Sockets) -> SmtpEdge:
    """Message submission (RFC 6409): "submission" with STARTTLS, "submission_tls" with TLS first (RFC 8314 §3.3).

    A client certificate under the configured anchors is asked for, and needed for EXTERNAL alone.
    """
    tls = _tls(context)
    service = await _service(context, SourceKind.SUBMISSION, tls)
    proxies = context.settings.submission.proxy_networks
    return await SmtpEdge.listen(service, sockets, {"submission": None, "submission_tls": tls}, proxies)


async def serve_relay(context: Context, sockets: Sockets) -> SmtpEdge:
    """Mail from other operators: "relay", STARTTLS, and a client certificate under the configured anchors; beside it
    "relay_held", HTTPS with the same certificates."""
    tls = _tls(context)
    service = await _service(context, SourceKind.RELAY, tls)
    relay = await SmtpEdge.listen(service, sockets, {"relay": None}, context.settings.relay.proxy_networks)
    if service.follows and context.edge is not None:
        relay.held = HeldEdge(service, context.pool, context.edge)
        await relay.held.listen(sockets["relay_held"])
    return relay


def _tls(context: Context) -> ssl.SSLContext:
    listener, settings = context.listener, context.settings
    anchors = [settings.path(anchor) for anchor in settings.trust.anchors]
    return server_context(settings.path(listener.certificate), settings.path(listener.private_key), anchors)


async def _service(context: Context, kind: SourceKind, tls: ssl.SSLContext) -> Service:
    if context.edge is None or context.anchors is None:
        raise ValueError("an SMTP edge needs the edge keys and the anchors")
    settings = context.settings
    acceptor = Acceptor(context.pool, context.edge, context.anchors, settings)
    await acceptor.start()
    trust = await Follower.start(context.pool, settings.trust, context.anchors, context.log)
    tokens = verifier(settings, context.pool, context.edge)
    facilities = facility_tokens(settings, context.pool, context.edge, trust.space)
    accounts = Accounts(
        context.pool, context.edge, tokens=tokens, facilities=facilities, trust=trust.space, needs=Rights.SEND
    )
    return Service(
        kind=kind,
        hostname=settings.domain,
        tls=tls,
        policy=Policy(context.pool, context.edge, settings, trust.space),
        trust=trust,
        acceptor=acceptor,
        pseudonyms=Pseudonyms(context.edge.pseudonym),
        log=context.log,
        max_message_bytes=settings.transport.max_message_bytes,
        follows=kind is SourceKind.RELAY and bool(settings.transport.pointer_bytes),
        accounts=accounts if kind is SourceKind.SUBMISSION else None,
        handed=Handed(context.pool, context.edge.salts) if kind is SourceKind.SUBMISSION else None,
    )


def _arrival(service: Service, context: ssl.SSLContext, arrivals: set[Arrival]) -> Arrival:
    return Arrival(Session(service), context, arrivals)


class SmtpEdge:
    """The listeners of one worker and its sessions."""

    def __init__(self, service: Service, servers: list[asyncio.Server]) -> None:
        self.service = service
        self._servers = servers
        self.held: HeldEdge | None = None

    @classmethod
    async def listen(
        cls,
        service: Service,
        sockets: Sockets,
        tls: Mapping[str, ssl.SSLContext | None],
        proxies: Sequence[Network] = (),
    ) -> SmtpEdge:
        """Take connections from now on; `tls` says by socket name which speak TLS from the first octet."""
        loop = asyncio.get_running_loop()
        servers = []
        for name, context in tls.items():
            session = partial(_arrival, service, context, set()) if context else partial(Session, service)
            servers.append(await loop.create_server(behind(proxies, session), sock=sockets[name]))
        return cls(service, servers)

    async def drain(self, deadline: float) -> None:
        """Take no new connection, say 421 to idle sessions, let transactions end, until `deadline`."""
        for server in self._servers:
            server.close()
        self.service.draining = True
        for session in list(self.service.sessions):
            session.stop_when_idle()
        while self.service.sessions and (left := deadline - clock.monotonic()) > 0:
            self.service.emptied.clear()
            try:
                await asyncio.wait_for(self.service.emptied.wait(), left)
            except TimeoutError:
                break
        if self.held is not None:
            await self.held.drain(deadline)

    async def close(self) -> None:
        """End all that is left, now; what was answered positively is committed."""
        for server in self._servers:
            server.close()
        for session in list(self.service.sessions):
            session.hang_up(r.SHUTTING_DOWN)
        if self.held is not None:
            await self.held.close()
        await self.service.policy.close()
        await self.service.acceptor.close()
        if self.service.trust is not None:
            await self.service.trust.close()
