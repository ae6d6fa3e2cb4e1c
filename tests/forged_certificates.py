"""Certificates of one trusted operator, and all that look like it, for strangers at the door and peers behind it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from crypto.pki.issue import Holder, Issued, issue, new_root
from crypto.pki.profile import Profile, ProfileName
from server.base import clock

NAME = {"organisation": "HOPITAL D ESSAI", "common_name": "mx.pairs.example"}
OTHER_NAME = {"organisation": "HOPITAL D ESSAI", "common_name": "mx.autres.example"}


class Certificates:
    """`path` of a kind: PEM files `<kind>.pem` and `<kind>.key` in one folder, made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = clock.now()
        self._server = Profile.load(ProfileName.SERVER)
        self.root = new_root(self._now)
        self.root.save(folder, "root")
        self._makers: dict[str, Callable[[], Issued]] = {
            "member": lambda: self._issued(self.root),
            "other name": lambda: self._issued(self.root, OTHER_NAME),
            "expired": lambda: self._issued(self.root, days_ago=400, days=365),
            "not yet valid": lambda: self._issued(self.root, days_ago=-2),
            "other root": lambda: self._issued(new_root(self._now)),
            "self-signed": lambda: new_root(self._now, self._like(ProfileName.ROOT)),
            "for mail alone": lambda: self._issued(self.root, profile=self._for_mail()),
            "under a leaf": lambda: self._issued(self._issued(self.root, OTHER_NAME)),
        }
        self.kinds = tuple(self._makers)

    def path(self, kind: str) -> tuple[Path, Path]:
        """Certificate and key."""
        name = kind.replace(" ", "-")
        if not (self._folder / f"{name}.pem").exists():
            self._makers[kind]().save(self._folder, name)
        return self._folder / f"{name}.pem", self._folder / f"{name}.key"

    def root_path(self) -> Path:
        return self._folder / "root.pem"

    def subject(self, kind: str = "member") -> str:
        """The certificate's name, as a list writes it."""
        self.path(kind)
        return Issued.load(self._folder, kind.replace(" ", "-")).certificate.subject.rfc4514_string()

    def client(self, kind: str | None, anchor: Path) -> ssl.SSLContext:
        """A client's context that shows this certificate, and trusts `anchor` for the server's."""
        context = ssl.create_default_context(cafile=str(anchor))
        context.check_hostname = False
        if kind is not None:
            context.load_cert_chain(*self.path(kind))
        return context

    def server(self, kind: str) -> ssl.SSLContext:
        """A server's context that shows this certificate and looks at no client's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.path(kind))
        return context

    def _issued(
        self,
        authority: Issued,
        name: dict[str, str] = NAME,
        *,
        days_ago: int = 0,
        days: int = 365,
        profile: Profile | None = None,
    ) -> Issued:
        holder, at = Holder(name, hosts=["localhost"]), self._now - timedelta(days=days_ago)
        return issue(authority, profile or self._server, holder, at, validity=timedelta(days=days))

    def _like(self, name: ProfileName) -> Profile:
        """A profile with the member's whole name."""
        return replace(Profile.load(name), subject={**self._server.subject, **NAME})

    def _for_mail(self) -> Profile:
        return replace(self._server, extended_key_usage=("email_protection",))
