"""The role `identity` of a test, in its own loop, between an edge and the development provider on loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from server.app import Context, Sockets
from server.base import clock, health
from server.base.sections import Identity, IdentityProvider
from server.base.settings import Settings
from server.identity import questions
from server.identity.providers import registered
from server.provider.endpoints import REALM
from server.provider.model import Person
from server.relying.worker import serve
from tests.provider_server import PEOPLE, SOFTWARE, WEB, ProviderServer, provider_server
from tests.store_world import World

NAME = "psc"
# The world's doctor.
DOCTOR = Person("810101010101", "DUPONT", "Anne", "MME", "10", speciality="SM54")


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def identity(place: Path, port: int, **changes: object) -> Identity:
    """The section of the settings for a provider on this port, whose root is in `place`/pki."""
    provider = IdentityProvider(
        label="Pro Santé Connect",
        issuer=f"https://localhost:{port}{REALM}",
        discovery=".well-known/wallet-openid-configuration",
        client_id=WEB.client_id,
        scope="openid scope_all",
        software=[SOFTWARE.client_id],
        roots=place / "pki" / "root.pem",
    )
    return Identity(development_sign_in=True, providers={NAME: provider.model_copy(update=changes)})


@asynccontextmanager
async def provided(world: World, settings: Settings, base: str = "https://x") -> AsyncIterator[ProviderServer]:
    """The provider of `settings`, and the role that asks it; the pages are at `base`."""
    section = settings.identity.providers[NAME]
    secret = settings.provider_secret(NAME)
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.write_text(WEB.secret)
    secret.chmod(0o600)
    (settings.home / "run").mkdir(exist_ok=True)
    web = replace(WEB, redirect_uris=(f"{base}/connexion/{NAME}/retour",), post_logout_redirect_uris=(f"{base}/",))
    async with provider_server(settings.home, (DOCTOR, *PEOPLE), (web, SOFTWARE), section.port) as server:
        context = Context(
            settings,
            "identity",
            0,
            world.edge_pool,
            structlog.get_logger(),
            providers=registered(settings),
            questions=health.bind(settings.home / "run", questions.SOCKET),
        )
        running = await serve(context, Sockets({}))
        try:
            yield server
        finally:
            await running.drain(clock.monotonic())
            await running.close()
