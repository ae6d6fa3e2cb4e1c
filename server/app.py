"""What a role is given and what it gives back: the seam between the processes and the edges.

`roles.py` builds the Context and binds the sockets with the rights of whoever started it, seals the process, and only
then calls the edge's `async def serve(context: Context, sockets: Sockets) -> Running`, which starts to listen.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from server.base.health import Health
from server.base.sections import Edge
from server.base.settings import Settings

if TYPE_CHECKING:
    import asyncpg

    from crypto.edge import EdgeKeys
    from crypto.keyring import Keyring
    from crypto.queue_secret import QueueSecret
    from crypto.smime.anchors import TrustAnchors
    from server.identity.hygiene import Own
    from server.identity.providers import Registered

PORTS_VARIABLE: Final = "CADUCEE_PORTS"

# The names of a role's sockets, as in run/ports.json, and the setting of its section that gives each its port.
LISTENERS: Final[dict[str, dict[str, str]]] = {
    "relay": {"relay": "port", "relay_held": "held_port"},
    "submission": {"submission": "port", "submission_tls": "tls_port"},
    "imap": {"imap": "port", "imap_tls": "tls_port"},
    "web": {"web": "port"},
    "ldap": {"ldap": "port", "ldap_tls": "tls_port", "pki": "pki_port"},
    "facility": {"facility": "port"},
    "provider": {"provider": "port"},
    "console": {"console": "port"},
    "sender": {},
    "fetcher": {},
    "identity": {},
    "jobs": {},
}


@dataclass
class Context:
    """All that a role's code may use. Relay, submission, console: no keyring; ldap, facility: what signs people in;
    others: no keys."""

    settings: Settings
    role: str
    worker: int
    pool: asyncpg.Pool
    log: Any
    health: Health = field(default_factory=Health)
    edge: EdgeKeys | None = None
    keyring: Keyring | None = None
    anchors: TrustAnchors | None = None
    timestamp_anchors: TrustAnchors | None = None
    queue_secret: QueueSecret | None = None
    own: Own = ()
    providers: Sequence[Registered] = ()
    questions: socket.socket | None = None

    @property
    def listener(self) -> Edge:
        """The role's own section of the settings (host, certificate, …); jobs has none."""
        section = getattr(self.settings, self.role)
        assert isinstance(section, Edge)  # noqa: S101 -- a role without a section asks for none
        return section


class Running(Protocol):
    """An edge that serves."""

    async def drain(self, deadline: float) -> None:
        """Take no new connection, let sessions end what they do, until `deadline` (of clock.monotonic())."""

    async def close(self) -> None:
        """End all that is left, now."""


class Sockets:
    """The role's sockets, bound and not yet listening: `loop.create_server(factory, sock=sockets["imap_tls"])`."""

    def __init__(self, bound: Mapping[str, socket.socket]) -> None:
        self._bound = dict(bound)

    def __getitem__(self, name: str) -> socket.socket:
        return self._bound[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._bound)

    def close(self) -> None:
        for bound in self._bound.values():
            bound.close()

    @property
    def ports(self) -> dict[str, int]:
        return {name: bound.getsockname()[1] for name, bound in self._bound.items()}


def ports(settings: Settings, role: str) -> dict[str, int]:
    """The ports of a role's sockets, those chosen by the supervisor before those of the settings; none of a role that
    is switched off. 0: a free one will be picked."""
    section = getattr(settings, role, None)
    if not isinstance(section, Edge) or not section.workers:
        return {}
    given: dict[str, int] = json.loads(os.environ.get(PORTS_VARIABLE, "{}"))
    chosen = {name: given.get(name, getattr(section, setting)) for name, setting in LISTENERS[role].items()}
    return {name: port for name, port in chosen.items() if port is not None}


def bind(settings: Settings, role: str, *, alone: bool = False) -> Sockets:
    """Bind a role's sockets so that workers can share them (SO_REUSEPORT), without listening.

    Ports chosen by the supervisor (CADUCEE_PORTS, JSON) win over the settings. With `alone`, a port that anybody else
    holds is an error too, also if it is shared. Raises OSError that names the setting.
    """
    bound: dict[str, socket.socket] = {}
    for name, port in ports(settings, role).items():
        section: Edge = getattr(settings, role)
        setting = LISTENERS[role][name]
        try:
            if alone and port:
                _bind(section.host, port, share=False).close()
            bound[name] = _bind(section.host, port, share=True)
        except OSError as error:
            Sockets(bound).close()
            raise OSError(
                error.errno, f"{role}.{setting}: cannot listen on {section.host} port {port}: {error.strerror}"
            ) from None
    return Sockets(bound)


def _bind(host: str, port: int, *, share: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.setblocking(False)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
