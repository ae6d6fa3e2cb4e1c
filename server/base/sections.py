"""The sections of `caducee.toml`, each with its values, their defaults and what would be wrong."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from server.base.limits import MB, MIB
from server.base.setting_types import (
    HostName,
    HttpsOrFile,
    Issuer,
    Networks,
    Oids,
    ProviderName,
    Resolvers,
    Url,
    UrlsOrFiles,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Edge(Section):
    """One listening role."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535, description="STARTTLS (HTTPS for web); 0 picks a free port")
    tls_port: int = Field(default=0, ge=0, le=65535, description="implicit TLS; 0 picks a free port")
    name: HostName = Field(default="", description="host name that others reach it by; the domain when empty")
    workers: int = Field(default=1, ge=1, le=64)
    certificate: Path = Path("pki/server.pem")
    private_key: Path = Path("pki/server.key")


class MailEdge(Edge):
    """A listening role that may stand behind a load balancer."""

    proxies: Networks = Field(
        default=[],
        description="addresses or networks of load balancers, which must begin with a PROXY protocol v2 header",
    )

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        return tuple(ipaddress.ip_network(one) for one in self.proxies)


class Accepting(MailEdge):
    """A listening role that takes mail, which keeps a core busy: a worker for each."""

    workers: int = Field(default=min(len(os.sched_getaffinity(0)), 4), ge=1, le=64)


class Relay(Accepting):
    """Mail from other operators."""

    held_port: int = Field(
        default=0, ge=0, le=65535, description="HTTPS, where they fetch large messages; 0 picks a free port"
    )
    forwarders: Literal["refuse", "mark"] = Field(
        default="refuse",
        description="a peer's message whose From is of another member: refuse it, or mark it in Authentication-Results",
    )
    unknown_per_hour: int = Field(default=300, ge=1, description="unknown recipients an operator may ask for an hour")


class Submission(Accepting):
    """Mail from the mailboxes here. An APP mailbox may send ten times what the limits say."""

    messages_per_hour: int = Field(default=1_000, ge=0, description="messages that one mailbox sends; 0 for no limit")
    recipients_per_hour: int = Field(default=5_000, ge=0, description="recipients of what a mailbox sends; 0: no limit")
    nearest_addresses: bool = Field(default=False, description="propose published addresses near one that is unknown")


class Ldap(Edge):
    """The directory, and what our own authority publishes."""

    pki_port: int | None = Field(default=None, ge=0, le=65535, description="HTTP port of its list and responder")
    pki_url: str = Field(default="", pattern="^(http://.+)?$", description="http://… where others reach that port")


class Web(Edge):
    """The pages and APIs."""

    names: list[str] = Field(
        default=[], description="host names that browsers may ask for, beside the domain itself and www.<domain>"
    )


class Facility(Edge):
    """Tokens for the people of facilities, whose servers show their organisation's certificate."""

    workers: int = Field(default=0, ge=0, le=64, description="1 or more serves it; the port is HTTPS")


class DevelopmentProvider(Edge):
    """The development provider of identity, whose state is in the memory of one process."""

    workers: int = Field(default=0, ge=0, le=1, description="1 runs it, for trying out; refused in production")


class Console(Edge):
    """The pages of the operator's own people."""

    workers: int = Field(default=1, ge=0, le=1, description="0 for none: then the command line alone administers")


class Sender(Section):
    """The way out to other operators."""

    workers: int = Field(default=1, ge=1, le=64)
    port: int = Field(default=25, ge=1, le=65535, description="SMTP port of the other operators")
    held_port: int = Field(
        default=8443, ge=1, le=65535, description="HTTPS port where the other operators hold large messages"
    )
    source: str = Field(default="", description="local address to connect from; the system's choice when empty")
    resolvers: Resolvers = Field(default=[], description="DNS servers, host or host:port; the system's when empty")
    patience_hours: int = Field(default=48, ge=1, le=240, description="after so long a message is given back")

    @property
    def resolver_ports(self) -> tuple[int, ...]:
        """The ports of `resolvers` that are named."""
        return tuple(int(port) for _, found, port in (one.rpartition(":") for one in self.resolvers) if found)


class Database(Section):
    dsn: str | None = Field(default=None, description="an external PostgreSQL ≥ 15; else an embedded one is started")
    pool: int = Field(default=4, ge=1, le=100, description="connections of each worker")


class Keys(Section):
    directory: Path = Path("keys")


class Trust(Section):
    """Who is trusted. A source is a URL or a file; the fetcher reads a file through its folder."""

    anchors: list[Path] = Field(default=[Path("pki/root.pem")], description="PEM files of the trusted roots")
    members: dict[str, list[str]] = Field(
        default={}, description="domain = [subject DNs] of operators that are trusted beside the white list"
    )
    white_list: HttpsOrFile = Field(default="", description="its place, https://… or a file; none when empty")
    signer_name: str = Field(default="", description="CN in the certificate of who signs the white list")
    signer_unit: str = Field(default="", description="OU in it: the national number of the structure")
    largest_loss_percent: int = Field(
        default=20, ge=0, le=100, description="a list that lost more of its domains waits for an operator's word"
    )
    crls: UrlsOrFiles = Field(
        default=["pki/crl/root.crl"],
        description="revocation lists (http://…, https://… or a file) beside those that certificates name",
    )
    signer_policies: Oids = Field(
        default=[], description="OIDs of certificate policies: signers of messages need one of them; any when empty"
    )
    revocation: Literal["prefer", "require"] = Field(
        default="prefer",
        description="a certificate of which it cannot be known whether it is revoked: accepted with a doubt, or not",
    )

    def model_post_init(self, context: Any) -> None:
        if self.white_list and not (self.signer_name and self.signer_unit):
            raise ValueError("white_list needs signer_name and signer_unit: CN and OU of who signs it")


class Prescription(Section):
    """Signed prescriptions and what they print."""

    url: Url = Field(default="", description="what the QR code begins with; https://<web.name or domain> when empty")
    days: int = Field(default=365, ge=1, le=3_650, description="how long the QR code leads to it")
    timestamp_url: Url = Field(default="", description="a time-stamp authority (RFC 3161), http://… or https://…")
    timestamp_anchors: list[Path] = Field(
        default=[], description="PEM files of the roots of time-stamp authorities, beside trust.anchors"
    )


class Fetcher(Section):
    """What keeps the white list and the revocation lists fresh."""

    refresh_minutes: int = Field(default=60, ge=1, le=1440, description="how old what was fetched may become")


class Transport(Section):
    max_message_bytes: int = Field(default=25 * MIB, ge=64 * 1024, le=256 * MIB)
    max_patient_bytes: int = Field(
        default=25 * MB, ge=64 * 1024, le=256 * MIB, description="largest message to a patient, as encoded"
    )
    pointer_bytes: int = Field(
        default=0,
        ge=0,
        description="larger messages stay here until the recipient's operator fetches them, where it can; 0 for none",
    )
    pointer_days: int = Field(default=7, ge=3, le=60, description="for so long; more than sender.patience_hours")
    require_signature: bool = Field(default=False, description="refuse messages whose signature does not pass")
    quota_bytes: int = Field(
        default=5_000 * MB, ge=0, description="room of a mailbox that has no quota of its own; 0 for no limit"
    )
    ins_control: Literal["key", "form", "none"] = Field(
        default="key",
        description="what the name in a patient's address must be: an INS with its key, of its form, or anything",
    )
    patient_domains: list[str] = Field(
        default=["patient.mssante.fr"], description="domains of patients' addresses at other operators"
    )


class Alarms(Section):
    """When a volume is out of the usual: in 24 hours at least the floor, and the factor times a usual day."""

    received_floor: int = Field(default=100, ge=1, description="messages received by one mailbox")
    received_factor: int = Field(default=5, ge=2)
    strangers_floor: int = Field(default=100, ge=1, description="people that one sender writes to for the first time")
    strangers_factor: int = Field(default=5, ge=2)


class IdentityProvider(Section):
    """An OpenID provider that proves who people are."""

    kind: Literal["professional", "patient"] = "professional"
    label: str = Field(description="what the button of the sign-in page says: the name that people know")
    issuer: Issuer = Field(description="https://…, exactly as the provider writes it into its tokens")
    discovery: str = Field(
        default=".well-known/openid-configuration", description="where under the issuer its configuration is"
    )
    client_id: str = Field(description="the name that the provider gave us")
    scope: str = "openid"
    acr: str = Field(default="eidas1", pattern="^eidas[123]$", description="how sure it must be at least")
    software: list[str] = Field(
        default=[], description="client_id (azp) of practice software whose access tokens open mailboxes by mail"
    )
    roots: Path | None = Field(
        default=None, description="PEM of the roots of its TLS certificate; the system's when not set"
    )

    @property
    def port(self) -> int:
        """The port of the issuer; its endpoints are on the same one."""
        return urlsplit(self.issuer).port or 443


class Identity(Section):
    providers: dict[ProviderName, IdentityProvider] = Field(
        default={}, description="[identity.providers.<name>]; the secret is in keys/identity/<name>"
    )
    development_sign_in: bool = Field(
        default=False, description="a sign-in without proof, for trying out; refused in production"
    )


class Directory(Section):
    """Who may look people up."""

    anonymous: bool = Field(default=False, description="by LDAP and FHIR without signing in")
