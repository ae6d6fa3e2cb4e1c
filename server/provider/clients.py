"""The registered clients: `provider/clients.json` of the data directory, made by `caducee init`, closed to others.

An address that begins with `{web}` stands for each address of the web role, whose port is known when it runs.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from server.base.settings import Settings
from server.provider.model import Client

WEB: Final = "caducee-web"
SOFTWARE: Final = "logiciel"
NAME: Final = "developpement"  # by which the web knows this provider: [identity.providers.<name>]
_WEB_PLACE: Final = "{web}"


def file_of(settings: Settings) -> Path:
    return settings.home / "provider" / "clients.json"


def new_clients() -> tuple[Client, ...]:
    """The web's own client and a practice software's, each with a new secret."""
    return (
        Client(
            WEB,
            "Caducée",
            secrets.token_urlsafe(32),
            (f"{_WEB_PLACE}/connexion/{NAME}/retour",),
            (f"{_WEB_PLACE}/",),
            f"{_WEB_PLACE}/connexion/{NAME}/fin",
        ),
        Client(SOFTWARE, "Logiciel de cabinet", secrets.token_urlsafe(32), ciba=True),
    )


def write_clients(file: Path, clients: Sequence[Client]) -> None:
    write_private(file, json.dumps([asdict(client) for client in clients], ensure_ascii=False, indent=1) + "\n")


def read_clients(file: Path, web: Sequence[str] = ()) -> dict[str, Client]:
    """The clients by name; `web` are the addresses of the web role, without a path. Raises OSError or ValueError."""
    try:
        clients = [_client(one, web) for one in json.loads(file.read_text(encoding="utf-8"))]
    except (TypeError, KeyError):
        raise ValueError(f"{file}: a client has a field that is none, or lacks one") from None
    return {client.client_id: client for client in clients}


def _client(given: dict[str, Any], web: Sequence[str]) -> Client:
    def addresses(name: str) -> tuple[str, ...]:
        return tuple(found for one in given[name] for found in _written_out(one, web))

    return Client(
        **given
        | {
            "redirect_uris": addresses("redirect_uris"),
            "post_logout_redirect_uris": addresses("post_logout_redirect_uris"),
            "backchannel_logout_uri": next(iter(_written_out(given["backchannel_logout_uri"], web)), ""),
        }
    )


def _written_out(address: str, web: Sequence[str]) -> list[str]:
    if not address.startswith(_WEB_PLACE):
        return [address]
    return [one + address.removeprefix(_WEB_PLACE) for one in web]


def write_private(file: Path, text: str) -> None:
    """Replace a file that only its owner can read, in one step."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    partial.rename(file)
