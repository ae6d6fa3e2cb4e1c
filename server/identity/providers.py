"""What the role `identity` has of each configured provider, taken before the process is sealed: our secret, and TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from server.base.sections import IdentityProvider
from server.base.settings import Settings, SettingsError

SECRET_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class Registered:
    """A provider at which we are registered."""

    name: str
    provider: IdentityProvider
    secret: str = field(repr=False)
    tls: ssl.SSLContext


def registered(settings: Settings) -> tuple[Registered, ...]:
    """All providers of the settings. Raises SettingsError: a file is missing, or open to others."""
    return tuple(_registered(settings, name, one) for name, one in settings.identity.providers.items())


def _registered(settings: Settings, name: str, provider: IdentityProvider) -> Registered:
    file = settings.provider_secret(name)
    try:
        mode, secret = file.stat().st_mode, file.read_text(encoding="utf-8").strip()
        tls = ssl.create_default_context(cafile=None if provider.roots is None else settings.path(provider.roots))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"identity.providers.{name}: {file} or its roots cannot be read: {why}") from None
    if mode & 0o077:
        raise SettingsError(f"identity.providers.{name}: {file} must be readable by its owner alone (chmod 600)")
    if not 0 < len(secret) <= SECRET_CHARACTERS:
        raise SettingsError(f"identity.providers.{name}: {file} must hold one line, our secret there")
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    return Registered(name, provider, secret, tls)
