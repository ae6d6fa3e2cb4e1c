"""Logout tokens, posted to the clients (OpenID Connect Back-Channel Logout §2.5): each once, all at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from server.base.https import NotFetched, ask
from server.base.limits import KIB

SECONDS: Final = 5.0  # the person's browser waits for it
ANSWER: Final = 4 * KIB  # §2.8: nothing, or an error


async def post(tls: ssl.SSLContext, notices: Sequence[tuple[str, str]], log: Any) -> None:
    """Tell every client; one that does not take it is logged, and the logout goes on."""

    async def tell(uri: str, token: str) -> None:
        form = ("application/x-www-form-urlencoded", urlencode({"logout_token": token}).encode())
        try:
            status = (await ask(uri, tls, ANSWER, post=form, seconds=SECONDS)).status
        except NotFetched as error:
            log.warning("logout_not_told", to=uri, reason=str(error))
        else:
            if status not in (200, 204):
                log.warning("logout_not_told", to=uri, status=status)

    await asyncio.gather(*(tell(uri, token) for uri, token in notices))
