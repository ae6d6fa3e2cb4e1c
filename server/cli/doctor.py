"""`caducee doctor`: finds what is wrong before a user does. Each examination is a function that yields findings."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crypto.errors import CryptoError
from crypto.pki.hygiene import ENDS_SOON, Found, Trouble
from crypto.smime.anchors import TrustAnchors
from directory.national import standing
from server.app import LISTENERS, bind
from server.base import clock, health, landlock, log
from server.base.limits import ALARM_WINDOW_HOURS, MIB
from server.base.sections import Edge
from server.base.settings import Settings, SettingsError
from server.cli.admin import Admin
from server.cli.common import Failure
from server.db.confinement import EmbeddedError
from server.identity.hygiene import Hygiene, own_certificates
from server.identity.operators.accounts import everyone
from server.identity.operators.model import Operator, Role
from server.identity.providers import registered
from server.mailbox.public import entry
from server.transport.alarms import Alarm, since
from server.transport.unknown import BY_OPERATOR, BY_SENDER
from server.transport.volume import RECEIVED, STRANGERS
from server.trust.follow import Follower
from server.trust.state import State, state

NAMED = 5  # of many, in a sentence
STALE = timedelta(hours=24)  # référentiel: the white list is fetched at least daily
LITTLE_SPACE = 2_048 * MIB
NO_SPACE = 256 * MIB


class Level(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and what to do about it ("" when nothing)."""

    level: Level
    about: str
    sentence: str
    advice: str = ""


async def examine(settings: Settings) -> list[Finding]:
    """All examinations, in the order in which trouble builds on trouble."""
    findings = [
        *_modes(settings),
        *_profile(settings),
        *_certificates(settings),
        *_space(settings),
        *_separation(settings),
    ]
    findings += [finding async for finding in _database(settings)]
    findings += [finding async for finding in _roles(settings)]
    return findings


def _modes(settings: Settings) -> Iterator[Finding]:
    """Nobody else may read the data directory or the keys."""
    for name, folder in (("data directory", settings.home), ("keys", settings.keys_directory)):
        if not folder.is_dir():
            yield Finding(Level.BAD, name, f"{folder} is not there.", "Restore it from a backup, or run caducee init.")
        elif folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield Finding(Level.BAD, name, f"others on this machine may enter {folder}.", f"chmod 700 {folder}")
        else:
            yield Finding(Level.GOOD, name, f"{folder} is closed to others.")
    open_files = [
        file
        for file in settings.keys_directory.rglob("*")
        if file.is_file() and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    for file in open_files:
        yield Finding(Level.BAD, "keys", f"others on this machine may read {file}.", f"chmod 600 {file}")


def _profile(settings: Settings) -> Iterator[Finding]:
    if settings.identity.development_sign_in:
        yield Finding(
            Level.WARNING,
            "sign-in",
            "the development sign-in is on: anybody who reaches the web port may read any record.",
            "Set production = true (and identity.development_sign_in = false) before real data.",
        )
    if settings.provider.workers:
        yield Finding(
            Level.WARNING,
            "sign-in",
            "the development provider of identity is on: anybody who reaches its port may be anybody.",
            "Set production = true (and provider.workers = 0) before real data.",
        )
    try:
        for one in registered(settings):
            yield Finding(Level.GOOD, "sign-in", f"{one.provider.label} ({one.name}) is set up.")
    except SettingsError as error:
        yield Finding(Level.BAD, "sign-in", f"{error}.", "See “Who people are” in docs/operator.md.")
    if not settings.trust.members and not settings.trust.white_list:
        yield Finding(
            Level.WARNING,
            "relay",
            "no other operator is trusted: the relay refuses all.",
            "Set trust.white_list, or list them in trust.members.",
        )


def _certificates(settings: Settings) -> Iterator[Finding]:
    """Each listening role's certificate is readable, belongs to its key, and is valid for a while."""
    seen: set[tuple[Path, Path]] = set()
    for role in LISTENERS:
        section = getattr(settings, role, None)
        if not isinstance(section, Edge) or not section.workers:
            continue
        pair = (settings.path(section.certificate), settings.path(section.private_key))
        if pair not in seen:
            seen.add(pair)
            yield _certificate(role, *pair)
        yield from _name(role, section.name or settings.domain, pair[0])


def _certificate(role: str, certificate_file: Path, key_file: Path) -> Finding:
    about = f"certificate of {role}"
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return Finding(Level.BAD, about, f"{certificate_file} or {key_file} cannot be read.", "Put both there as PEM.")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        return Finding(Level.BAD, about, f"{key_file} is not the key of {certificate_file}.", "Install them as a pair.")
    left = certificate.not_valid_after_utc - clock.now()
    if left < timedelta(0):
        return Finding(Level.BAD, about, f"{certificate_file} has expired.", "Renew it.")
    level = Level.WARNING if left < ENDS_SOON else Level.GOOD
    return Finding(level, about, f"{certificate_file.name} is valid for {left.days} more days.")


def _name(role: str, name: str, certificate_file: Path) -> Iterator[Finding]:
    """What clients are told to ask for must be in the certificate (RFC 9525 §6.3); operators go by the subject."""
    if role == "relay":
        return
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = set(extension.value.get_values_for_type(x509.DNSName))
    except (OSError, ValueError):  # told by _certificate
        return
    except x509.ExtensionNotFound:
        names = set()
    if not names & {name, f"*.{name.partition('.')[2]}"}:
        yield Finding(
            Level.WARNING,
            f"certificate of {role}",
            f"{certificate_file.name} is not for {name}, the name that programs are told.",
            f"Set {role}.name to a name in it, or renew it.",
        )


def _space(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(settings.home).free
    level = Level.BAD if free < NO_SPACE else Level.WARNING if free < LITTLE_SPACE else Level.GOOD
    yield Finding(level, "disk", f"{free // MIB} MiB are free.", "" if level is Level.GOOD else "Make room.")
    if settings.keys_directory.is_dir() and settings.home.stat().st_dev == settings.keys_directory.stat().st_dev:
        yield Finding(
            Level.WARNING,
            "keys",
            "keys and data share a file system: who steals the disk has both.",
            "Set keys.directory to another device or an encrypted one.",
        )


def _separation(settings: Settings) -> Iterator[Finding]:
    abi = landlock.abi()
    if abi:
        yield Finding(Level.GOOD, "separation", f"roles seal themselves by Landlock (ABI {abi}) before they listen.")
    else:
        yield Finding(
            Level.WARNING,
            "separation",
            "this kernel has no Landlock: roles are separated against injection, not against code execution.",
            "Use Linux 5.13 or newer with Landlock on.",
        )


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    try:
        async with Admin(settings) as admin:
            version = admin.server_version()
            raised = await since(admin.connection, clock.now() - timedelta(hours=ALARM_WINDOW_HOURS))
            trusted = await state(admin.connection)
            certificates = await certificates_found(admin, settings)
            published = await entry.standing(admin.connection, admin.edge)
            loaded = await standing.standing(admin.connection)
            operators = await everyone(admin.connection, admin.edge)
    except (OSError, asyncpg.PostgresError, EmbeddedError, CryptoError, Failure) as error:
        yield Finding(Level.BAD, "database", str(error), "See log/ in the data directory.")
    else:
        yield Finding(Level.GOOD, "database", f"PostgreSQL {version} answers and its schema is up to date.")
        for finding in trust_findings(settings, trusted, clock.now()):
            yield finding
        for finding in certificates:
            yield finding
        for finding in _published(published):
            yield finding
        yield _directory(loaded, clock.now())
        for finding in officer_findings(settings, operators):
            yield finding
        for alarm in raised:
            yield _volume(alarm)


def officer_findings(settings: Settings, operators: Sequence[Operator]) -> Iterator[Finding]:
    """What is dangerous takes two people, in production."""
    officers = [one for one in operators if one.role is Role.SECURITY_OFFICER and one.enrolled]
    if len(officers) > 1:
        yield Finding(Level.GOOD, "operators", f"{len(officers)} security officers are enrolled.")
    elif settings.production:
        text = "one security officer alone cannot approve." if officers else "there is no security officer."
        advice = "caducee operator invite NAME --role security-officer"
        yield Finding(Level.WARNING, "operators", text, advice)


def _directory(loaded: standing.Standing | None, now: datetime) -> Finding:
    """The national files are loaded, and lately."""
    advice = "caducee directory import … every day: docs/operator.md"
    if loaded is None:
        return Finding(Level.WARNING, "directory", "no national file was ever loaded.", advice)
    text = f"loaded on {loaded.loaded_at:%Y-%m-%d}."
    if loaded.is_old(now):
        return Finding(Level.WARNING, "directory", text, advice)
    return Finding(Level.GOOD, "directory", text)


def _published(found: entry.Standing) -> Iterator[Finding]:
    """Each mailbox that takes mail has its entry in the directory, and each entry its mailbox."""
    advice = "caducee mailbox publish"
    if found.missing:
        text = f"{len(found.missing)} mailboxes have no entry: numbers {list(found.missing[:NAMED])}."
        yield Finding(Level.WARNING, "directory", text, advice)
    if found.stray:
        text = f"{len(found.stray)} entries lead to no open mailbox: {', '.join(found.stray[:NAMED])}."
        yield Finding(Level.BAD, "directory", text, advice)


async def certificates_found(admin: Admin, settings: Settings) -> list[Finding]:
    """What is wrong with certificates of members, of mailboxes, and with our own being revoked."""
    anchors = TrustAnchors.load([settings.path(anchor) for anchor in settings.trust.anchors])
    known = settings.trust.model_copy(update={"white_list": ""})  # what is known of revocations
    trust = Follower(admin.pool, known, anchors, log.configure("doctor", level="ERROR"))
    hygiene = Hygiene(admin.pool, admin.edge, trust, anchors, own_certificates(settings))
    return [_troubled(one) for one in await hygiene.find(admin.connection, clock.now())]


_TROUBLES = {
    Trouble.REVOKED: (Level.BAD, "is revoked", "Others refuse it: have it replaced."),
    Trouble.SHARED_KEY: (Level.BAD, "has a key that others have too", "Each can act as the other: have new ones made."),
    Trouble.WEAK_KEY: (Level.WARNING, "has a key that is too weak", "Have it replaced."),
    Trouble.WEAK_SIGNATURE: (Level.WARNING, "is signed with a broken digest", "Have it replaced."),
    Trouble.ENDED: (Level.WARNING, "has ended", "Have it renewed."),
    Trouble.ENDS_SOON: (Level.WARNING, "ends soon", "Have it renewed."),
}


def _troubled(found: Found) -> Finding:
    level, what, advice = _TROUBLES[found.trouble]
    shared = f": {'; '.join(found.others)}" if found.others else ""
    sentence = f"{found.held.holder} {what}{shared}, until {found.held.not_after:%Y-%m-%d}."
    return Finding(level, "certificates", sentence, advice)


def trust_findings(settings: Settings, trusted: State, now: datetime) -> Iterator[Finding]:
    """Whether the white list and the revocation lists are fresh; what was refused, and why."""
    chosen, kept = settings.trust.white_list, trusted.kept
    if chosen:
        one = next((one for one in trusted.sources if one.source == chosen), None)
        trouble = one.failure if one is not None else "it was not fetched yet."
        if kept is None:
            advice = "caducee trust refresh says it again; until it passes, other operators' mail is refused."
            yield Finding(Level.BAD, "white list", f"none was accepted: {trouble}", advice)
        elif trouble:
            yield Finding(
                Level.WARNING,
                "white list",
                f"the new one is refused: {trouble} The one of {kept.generated_at:%Y-%m-%d %H:%M} UTC stays.",
                "Ask who publishes it; caducee trust show tells more.",
            )
        elif one is not None and one.good_at is not None and now - one.good_at > STALE:
            advice = "Does the role fetcher run, and reach the address?"
            yield Finding(Level.WARNING, "white list", f"not fetched since {one.good_at:%Y-%m-%d %H:%M}.", advice)
        else:
            yield Finding(Level.GOOD, "white list", f"{kept.entries:,} rows of {kept.generated_at:%Y-%m-%d %H:%M} UTC.")
    for one in trusted.sources:
        if one.kind == "white-list" or now - one.tried_at > STALE:  # no longer asked for
            continue
        if one.valid_until is not None and one.valid_until < now:
            text = f"{one.source} ended {one.valid_until:%Y-%m-%d %H:%M}: certificates can no longer be checked by it."
            yield Finding(Level.WARNING, "revocation", text, one.failure or "Ask who publishes it.")
        elif one.failure:
            yield Finding(Level.WARNING, "revocation", f"{one.source}: {one.failure}", "caducee trust show tells more.")


_VOLUMES = {
    RECEIVED: "received {count} messages in a day, usually {usual}",
    STRANGERS: "wrote to {count} people for the first time in a day, usually {usual}",
    BY_SENDER: "asked for {count} unknown recipients in a day",
    BY_OPERATOR: "asked for {count} unknown recipients in a day",
}


def _volume(alarm: Alarm) -> Finding:
    """An alarm of the last day (server.transport.alarms)."""
    mailbox = f" (mailbox number {alarm.owner_id})" if alarm.owner_id is not None else ""
    said = _VOLUMES[alarm.kind].format(count=alarm.count, usual=alarm.usual)
    return Finding(
        Level.WARNING, "volume", f"{alarm.name}{mailbox} {said}.", "Find out why: a misrouting, a stolen password?"
    )


async def _roles(settings: Settings) -> AsyncIterator[Finding]:
    """Whether each role answers; where nothing runs, whether its ports are free."""
    run = settings.home / "run"
    if not (run / "ports.json").exists():
        for role in LISTENERS:
            try:
                bind(settings, role, alone=True).close()
            except OSError as error:
                yield Finding(Level.BAD, role, str(error.strerror), "Choose another port or stop what holds it.")
        yield Finding(Level.WARNING, "roles", "the server does not run.", "caducee serve")
        return
    for socket in sorted(run.glob("*-*.sock")):
        try:
            status, body = await health.ask(run, socket.name, "/ready")
            answer = json.loads(body)
        except (TimeoutError, OSError, ValueError):
            yield Finding(Level.BAD, socket.stem, "does not answer.", "See log/ in the data directory.")
            continue
        notes = ", ".join(f"{name}: {note}" for name, note in answer["notes"].items())
        if status == 200:
            yield Finding(Level.GOOD, socket.stem, f"ready ({notes})." if notes else "ready.")
        else:
            yield Finding(Level.BAD, socket.stem, f"not ready: {', '.join(answer['failing'])}.", "See log/.")
