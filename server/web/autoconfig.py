"""Autoconfiguration of mail programs, in the form of Thunderbird's config-v1.1.xml.

It says the same to everybody who asks: names and ports, never whether an address exists.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from xml.etree import ElementTree

from server.app import PORTS_VARIABLE
from server.base.places import MAIL_SERVICES, place
from server.base.settings import Settings

PATHS = ("/.well-known/autoconfig/mail/config-v1.1.xml", "/mail/config-v1.1.xml")


def ports_in_use() -> dict[str, int]:
    """The ports that the supervisor chose, where it did."""
    ports: dict[str, int] = json.loads(os.environ.get(PORTS_VARIABLE, "{}"))
    return ports


def client_config(settings: Settings, ports: Mapping[str, int]) -> bytes:
    """The document. A service whose port nobody knows is left out."""
    root = ElementTree.Element("clientConfig", version="1.1")
    provider = ElementTree.SubElement(root, "emailProvider", id=settings.domain)
    for name, text in (
        ("domain", settings.domain),
        ("displayName", f"Messagerie sécurisée de santé, {settings.domain}"),
        ("displayShortName", settings.domain),
    ):
        ElementTree.SubElement(provider, name).text = text
    for service in MAIL_SERVICES:
        where = place(settings, service, ports)
        if not where.known:
            continue
        role = service.removesuffix("_tls")
        server = (
            ElementTree.SubElement(provider, "incomingServer", type="imap")
            if role == "imap"
            else ElementTree.SubElement(provider, "outgoingServer", type="smtp")
        )
        for name, text in (
            ("hostname", where.host),
            ("port", str(where.port)),
            ("socketType", "STARTTLS" if service == role else "SSL"),
            ("username", "%EMAILADDRESS%"),
            ("authentication", "password-cleartext"),  # under TLS: the program's word for AUTH PLAIN and LOGIN
        ):
            ElementTree.SubElement(server, name).text = text
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
