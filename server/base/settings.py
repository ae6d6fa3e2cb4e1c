"""All settings, from `caducee.toml` and `CADUCEE_<SECTION>__<NAME>` (the environment wins).

A wrong setting is named with its file and line, and with what would be right. Relative paths are relative to the home.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from server.base.sections import (
    Alarms,
    Console,
    Database,
    DevelopmentProvider,
    Directory,
    Facility,
    Fetcher,
    Identity,
    Keys,
    Ldap,
    MailEdge,
    Prescription,
    Relay,
    Sender,
    Submission,
    Transport,
    Trust,
    Web,
)
from server.base.setting_types import DOMAIN

FILE_NAME = "caducee.toml"
PREFIX = "CADUCEE_"
HOME_VARIABLE = "CADUCEE_HOME"


class SettingsError(Exception):
    """A setting is wrong; the text says where and what would be right."""


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
    facility: Facility = Facility()
    provider: DevelopmentProvider = DevelopmentProvider()
    console: Console = Console()
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
