"""Where the trust space comes from: the white list and who signs it, the revocation lists.

A source is known by its text: a URL, or the path of a file as the settings have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from server.base import https
from server.base.sections import Edge, Trust
from server.base.settings import Settings, SettingsError
from server.trust.members import Attribute, DistinguishedName


def is_url(source: str) -> bool:
    """Whether the source is fetched; else it is a file."""
    return "://" in source


def pinned_signer(trust: Trust) -> tuple[Attribute, ...]:
    """What the subject of the white list's signer must hold."""
    name = [
        x509.NameAttribute(NameOID.COMMON_NAME, trust.signer_name),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, trust.signer_unit),
    ]
    return DistinguishedName.of(x509.Name(name)).attributes


def ports(settings: Settings) -> tuple[int, ...]:
    """Ports that a fetch may connect to: those of the configured URLs, and the web's own, since certificates name lists
    that are published there."""
    urls = [urlsplit(source) for source in (settings.trust.white_list, *settings.trust.crls) if is_url(source)]
    return tuple(sorted({*https.PORTS.values(), *(url.port or https.PORTS[url.scheme] for url in urls)}))


def folders(settings: Settings) -> tuple[Path, ...]:
    """Folders of the sources that are files: a file that is replaced is found again only through its folder.

    Raises SettingsError: what may be read with it would hold keys.
    """
    return tuple(sorted(set(_folders(settings))))


def _folders(settings: Settings) -> Iterable[Path]:
    secret = [settings.home, settings.keys_directory]
    sections = [getattr(settings, name) for name in Settings.model_fields]
    secret += [settings.path(one.private_key).parent for one in sections if isinstance(one, Edge)]
    for source in (settings.trust.white_list, *settings.trust.crls):
        if source and not is_url(source):
            folder = settings.path(Path(source)).parent
            if any(place.is_relative_to(folder) for place in secret):
                raise SettingsError(f"trust: {source} must lie in a folder of its own, which holds no keys")
            if folder.is_dir():
                yield folder
