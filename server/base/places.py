"""Where programs reach the services: the names and ports that DNS and autoconfiguration tell them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from server.base.sections import Edge
from server.base.settings import Settings

# Services of mail programs, what is better first: TLS from the first octet (RFC 8314 §3), then STARTTLS.
MAIL_SERVICES: Final = ("submission_tls", "submission", "imap_tls", "imap")


@dataclass(frozen=True, slots=True)
class Place:
    """`port` is 0 where it is chosen at each start and not known yet."""

    host: str
    port: int

    @property
    def known(self) -> bool:
        return self.port != 0


def place(settings: Settings, service: str, ports: Mapping[str, int]) -> Place:
    """A service by its name in run/ports.json; `ports` are those in use now, for what the settings leave open."""
    role = service.removesuffix("_tls")
    section = getattr(settings, role)
    if not isinstance(section, Edge):
        raise TypeError(f"{role} listens nowhere")
    chosen = section.tls_port if service != role else section.port
    return Place(section.name or settings.domain, chosen or ports.get(service, 0))
