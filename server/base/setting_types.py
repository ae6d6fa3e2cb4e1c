"""The forms that the text of a setting may have, each with the sentence that says what would be right."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator

# RFC 1035 §2.3.4: labels of up to 63 octets, 253 in all.
DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_PROVIDER_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")  # it stands in addresses of pages
_OID = re.compile(r"[0-2](\.[0-9]{1,20}){1,30}")


def _host_name(value: str) -> str:
    if value and not DOMAIN.fullmatch(value):
        raise ValueError('a host name in lower case without a final dot, like "mail.msg.exemple.fr"')
    return value


def _networks(value: list[str]) -> list[str]:
    for one in value:
        try:
            ipaddress.ip_network(one)
        except ValueError:
            raise ValueError('IP addresses or networks, like "10.0.0.5" or "10.0.0.0/28"') from None
    return value


def _resolvers(value: list[str]) -> list[str]:
    for one in value:
        host, found, port = one.rpartition(":")
        try:
            ipaddress.ip_address(host if found and port.isdigit() and host.count(":") == 0 else one)
        except ValueError:
            raise ValueError('IP addresses, each with a port or without, like "127.0.0.1:5353"') from None
    return value


def _https_or_file(value: str) -> str:
    if "://" in value and not value.startswith("https://"):
        raise ValueError('"https://…", or the path of a file')
    return value


def _urls_or_files(value: list[str]) -> list[str]:
    if any("://" in one and not one.startswith(("http://", "https://")) for one in value):
        raise ValueError('each "http://…", "https://…" or the path of a file')
    return value


def _oids(value: list[str]) -> list[str]:
    if not all(_OID.fullmatch(one) for one in value):
        raise ValueError('each an object identifier, "1.2.250.1.213.1.1"')
    return value


def _url(value: str) -> str:
    if value and not value.startswith(("https://", "http://")):
        raise ValueError('"https://…"')
    return value.rstrip("/")


def _issuer(value: str) -> str:
    # OpenID Connect Discovery 1.0 §3: https, and neither query nor fragment
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError('"https://…" without query')
    return value


def _provider_name(value: str) -> str:
    if not _PROVIDER_NAME.fullmatch(value):
        raise ValueError('the name of a provider is of small letters, digits and "-"')
    return value


HostName: TypeAlias = Annotated[str, AfterValidator(_host_name)]
Networks: TypeAlias = Annotated[list[str], AfterValidator(_networks)]
Resolvers: TypeAlias = Annotated[list[str], AfterValidator(_resolvers)]
HttpsOrFile: TypeAlias = Annotated[str, AfterValidator(_https_or_file)]
UrlsOrFiles: TypeAlias = Annotated[list[str], AfterValidator(_urls_or_files)]
Oids: TypeAlias = Annotated[list[str], AfterValidator(_oids)]
Url: TypeAlias = Annotated[str, AfterValidator(_url)]
Issuer: TypeAlias = Annotated[str, AfterValidator(_issuer)]
ProviderName: TypeAlias = Annotated[str, AfterValidator(_provider_name)]
