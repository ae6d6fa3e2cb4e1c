"""All settings, from `caducee.toml` and `CADUCEE_<SECTION>__<NAME>` (the environment wins).

A wrong setting is named with its file and line, and with what would be right. Relative paths are relative to the home.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from server.base.limits import MB, MIB
from server.base.setting_types import (
    DOMAIN,
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

FILE_NAME = "caducee.toml"
PREFIX = "CADUCEE_"
HOME_VARIABLE = "CADUCEE_HOME"


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(Exception):
    """A setting is wrong; the text says where and what would be right."""


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


class Ldap(Edge):
    """The directory, and what our own authority publishes."""

    pki_port: int | None = Field(default=None, ge=0, le=65535, description="HTTP port of its list and responder")
    pki_url: str = Field(default="", pattern="^(http://.+)?$", description="http://… where others reach that port")


class Web(Edge):
    """The pages and APIs."""

    names: list[str] = Field(
        default=[], description="host names that browsers may ask for, beside the domain itself and www.<domain>"
    )


class DevelopmentProvider(Edge):
    """The development provider of identity, whose state is in the memory of one process."""

    workers: int = Field(default=0, ge=0, le=1, description="1 runs it, for trying out; refused in production")


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


class Settings(BaseModel):
    """The whole configuration of one data directory (`home`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path
    domain: str
    patient_domain: str = Field(default="", description="domain of patients' addresses; patient.<domain> when empty")
    production: bool = False
    sign_messages: bool = Field(default=False, description="sign what is written in our pages, by our own authority")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    relay: Relay = Relay()
    submission: Submission = Submission()
    imap: MailEdge = MailEdge()
    web: Web = Web()
    ldap: Ldap = Ldap()
    provider: DevelopmentProvider = DevelopmentProvider()
    sender: Sender = Sender()
    fetcher: Fetcher = Fetcher()
    database: Database = Database()
    keys: Keys = Keys()
    trust: Trust = Trust()
    transport: Transport = Transport()
    prescription: Prescription = Prescription()
    alarms: Alarms = Alarms()
    identity: Identity = Identity()
    directory: Directory = Directory()

    @field_validator("domain", "patient_domain")
    @classmethod
    def _is_a_domain(cls, value: str, info: ValidationInfo) -> str:
        if (value or info.field_name == "domain") and not DOMAIN.fullmatch(value):
            raise ValueError('a domain in lower case without a final dot, like "msg.exemple.fr"')
        return value

    @field_validator("identity")
    @classmethod
    def _proves_who_signs_in(cls, value: Identity, info: ValidationInfo) -> Identity:
        if info.data.get("production") and value.development_sign_in:
            raise ValueError("development_sign_in must be false when production is true")
        return value

    @field_validator("provider")
    @classmethod
    def _proves_something(cls, value: DevelopmentProvider, info: ValidationInfo) -> DevelopmentProvider:
        if info.data.get("production") and value.workers:
            raise ValueError("workers must be 0 when production is true: the development provider proves nothing")
        return value

    def model_post_init(self, context: Any) -> None:
        if not self.patient_domain:
            object.__setattr__(self, "patient_domain", f"patient.{self.domain}")

    @property
    def prescription_url(self) -> str:
        """Where the pages of prescriptions are."""
        return self.prescription.url or f"https://{self.web.name or self.domain}"

    @property
    def timestamp_anchors(self) -> list[Path]:
        """The roots of time-stamp authorities."""
        return [self.path(anchor) for anchor in (*self.trust.anchors, *self.prescription.timestamp_anchors)]

    @property
    def patient_domains(self) -> frozenset[str]:
        """The domains of patients' addresses, here and elsewhere."""
        return frozenset({self.patient_domain, *self.transport.patient_domains})

    @property
    def local_domains(self) -> frozenset[str]:
        """The domains whose mailboxes live here."""
        return frozenset({self.domain, self.patient_domain})

    def path(self, value: Path) -> Path:
        """A configured path made absolute (relative ones start at the home)."""
        return value if value.is_absolute() else self.home / value

    @property
    def keys_directory(self) -> Path:
        return self.path(self.keys.directory)

    def provider_secret(self, name: str) -> Path:
        """The file with our secret at an identity provider."""
        return self.keys_directory / "identity" / name

    @property
    def ring_directory(self) -> Path:
        """The keyring, in a folder of its own: readers go on to read it, and nothing else of the keys."""
        return self.keys_directory / "ring"


def find_home(given: Path | None) -> Path:
    """The data directory: the one given, else CADUCEE_HOME. Raises SettingsError when there is neither."""
    chosen = given or (Path(os.environ[HOME_VARIABLE]) if os.environ.get(HOME_VARIABLE) else None)
    if chosen is None:
        raise SettingsError(f"No data directory: give --home DIR or set {HOME_VARIABLE} (made by `caducee init DIR`).")
    return chosen.resolve()


def load(home: Path, environment: dict[str, str] | None = None) -> Settings:
    """Read `home`/caducee.toml and the environment.

    Raises SettingsError: the file is missing, is no TOML, or a value is wrong (file, line, what would be right).
    """
    file = home / FILE_NAME
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{file} does not exist: make a data directory with `caducee init {home}`.") from None
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: {error}") from None
    origin = _overlay(values, dict(os.environ) if environment is None else environment)
    if "home" in values:
        where = origin.get("home") or next(
            (name for name in origin.values() if name.startswith("CADUCEE_HOME__")), None
        )
        raise SettingsError(f"{where or file}: home: it is the folder of {FILE_NAME} and no setting.")
    try:
        return Settings(home=home, **values)
    except ValidationError as error:
        lines = [_explain(file, text, origin, detail) for detail in error.errors()]
        raise SettingsError("\n".join(lines)) from None


def _overlay(values: dict[str, Any], environment: dict[str, str]) -> dict[str, str]:
    """Put CADUCEE_<SECTION>__<NAME> over the file's values; returns setting → variable, for messages."""
    origin: dict[str, str] = {}
    for variable, text in sorted(environment.items()):
        section, found, name = variable.removeprefix(PREFIX).lower().partition("__")
        # Without "__" only a setting's own name counts: other programs keep variables under our prefix too.
        named = bool(found) or section in Settings.model_fields
        if not variable.startswith(PREFIX) or variable == HOME_VARIABLE or not named:
            continue
        value = _from_text(text)
        if found:
            if section not in values:
                origin[section] = variable
            table = values.setdefault(section, {})
            if isinstance(table, dict):
                table[name] = value
            origin[f"{section}.{name}"] = variable
        else:
            values[section] = value
            origin[section] = variable
    return origin


def _from_text(text: str) -> Any:
    """A variable's text as a TOML value where it is one (numbers, true, lists), else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(file: Path, text: str, origin: dict[str, str], detail: ErrorDetails) -> str:
    path = [str(step) for step in detail["loc"]]
    name = ".".join(path) or "the settings"
    sentence = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        known = (
            Settings.model_fields[path[0]].annotation
            if len(path) > 1 and path[0] in Settings.model_fields
            else Settings
        )
        names = sorted(name for name in getattr(known, "model_fields", {}) if name != "home")
        sentence = f"there is no such setting; known here: {', '.join(names)}"
    elif detail["type"] == "missing":
        sentence = f'it is required; write {path[-1]} = "…"'
    variable = next((origin[".".join(path[:n])] for n in range(len(path), 0, -1) if ".".join(path[:n]) in origin), None)
    where = f"environment variable {variable}" if variable else f"{file}, line {_line_of(text, path)}"
    return f"{where}: {name}: {sentence}"


def _line_of(text: str, path: list[str]) -> int:
    """The line of a setting in the TOML text (the section's line when the name itself is not there, else 1)."""
    section: list[str] = []
    best = 1
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped.strip("[] ").split(".")
            if path[: len(section)] == section:
                best = number
        here = [*section, stripped.partition("=")[0].strip().strip('"')]
        if path[: len(here)] == here:
            return number
    return best
