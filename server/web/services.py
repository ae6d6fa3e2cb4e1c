"""What every page may ask: built once a worker, handed to requests by `services(request)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg
from starlette.requests import Request

from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base.harvest import Harvest
from server.base.settings import Settings
from server.identity.accounts import Accounts
from server.identity.local.passwords import LocalPasswords
from server.identity.questions import Asker
from server.identity.sessions.sessions import Sessions
from server.mailbox.store import Store
from server.record.prescriptions import Prescriptions
from server.record.record import Record
from server.record.signatures import Signatures
from server.transport.accept import Acceptor
from server.transport.policy import Policy
from server.trust.follow import Follower
from server.web.renderer import Renderer


@dataclass(frozen=True)
class Services:
    """The rooms below, opened for this process."""

    settings: Settings
    pool: asyncpg.Pool
    edge: EdgeKeys
    audit: Audit
    policy: Policy
    trust: Follower
    store: Store
    accounts: Accounts
    sessions: Sessions
    passwords: LocalPasswords
    record: Record
    signatures: Signatures
    prescriptions: Prescriptions
    acceptor: Acceptor
    renderer: Renderer
    harvest: Harvest
    asker: Asker | None  # the way to identity providers, where there are any
    log: Any


def services(request: Request) -> Services:
    """The services of the application that serves this request."""
    found = request.app.state.services
    if not isinstance(found, Services):
        raise RuntimeError("the application was built without its services")
    return found
