"""Logout tokens, posted to the clients (OpenID Connect Back-Channel Logout §2.5): each once, all at a time."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

SECONDS: Final = 5.0  # the person's browser waits for it


async def post(tls: ssl.SSLContext, notices: Sequence[tuple[str, str]], log: Any) -> None:
    """Tell every client; one that does not take it is logged, and the logout goes on."""

    async def tell(uri: str, token: str) -> None:
        try:
            status = await asyncio.to_thread(_post, tls, uri, token)
        except (OSError, http.client.HTTPException) as error:
            log.warning("logout_not_told", to=uri, error=error)
        else:
            if status not in (200, 204):
                log.warning("logout_not_told", to=uri, status=status)

    await asyncio.gather(*(tell(uri, token) for uri, token in notices))


def _post(tls: ssl.SSLContext, uri: str, token: str) -> int:
    place = urlsplit(uri)
    connection = http.client.HTTPSConnection(place.hostname or "", place.port, timeout=SECONDS, context=tls)
    try:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", place.path, urlencode({"logout_token": token}), headers)
        return connection.getresponse().status
    finally:
        connection.close()
