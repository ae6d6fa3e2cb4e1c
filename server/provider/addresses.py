"""Where the provider's pages and endpoints are: Pro Santé Connect's own paths, on the address of this one."""

from __future__ import annotations

from typing import Final

from server.base.settings import Settings

REALM: Final = "/auth/realms/esante-wallet"
PROTOCOL: Final = f"{REALM}/protocol/openid-connect"
AUTHORIZE: Final = "/auth"
APPLICATION: Final = "/application"  # the stand-in of the e-CPS application
LOGOUT: Final = f"{PROTOCOL}/logout"


def host_of(settings: Settings) -> str:
    """The name by which it is reached: it runs where one tries out."""
    return settings.provider.name or "localhost"


def issuer(settings: Settings, port: int) -> str:
    """What it calls itself in its tokens."""
    return f"https://{host_of(settings)}:{port}{REALM}"


def web_addresses(settings: Settings, port: int) -> list[str]:
    """Where browsers find the web role; the first is where logout tokens are posted."""
    names = dict.fromkeys(("localhost", "127.0.0.1", settings.web.name or settings.domain))
    return [f"https://{name}:{port}" for name in names]
