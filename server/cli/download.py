"""Brings a published file from its address: what a cut connection left is gone on with, what is here already stays.

Beside the file stands what tells its version (RFC 9110 §8.8); beside a part, that of the part: a server that has
another version by now sends it whole (`If-Range`, §13.1.5). HTTPS alone, also where a redirect leads.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

LARGEST = 4 << 30  # bytes; the largest is 20 times smaller packed
REDIRECTS = 5
TRIES = 5  # connections in a row that bring nothing
SECONDS = 60.0  # of silence
PIECE = 1 << 18
_HEADERS = {"User-Agent": "Caducee", "Accept-Encoding": "identity", "Connection": "close"}
_NAME = re.compile(r"[\w.-]{1,200}\.(?:zip|txt|csv)", re.ASCII | re.IGNORECASE)
_DISPOSITION = re.compile(r'filename\s*=\s*"?([^";]+)', re.IGNORECASE)

Progress = Callable[[str, int, int], None]


class NotDownloaded(Exception):
    """The file did not come; the text says why, for the operator."""


@dataclass(frozen=True, slots=True)
class Version:
    """What a server says of a file. `size` 0: it does not say."""

    name: str
    etag: str
    modified: str
    size: int

    @property
    def condition(self) -> str:
        # RFC 9110 §13.1.5: a weak validator tells nothing of bytes
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The file, and whether it came now."""

    path: Path
    is_new: bool


def download(url: str, folder: Path, tls: ssl.SSLContext, progress: Progress) -> Downloaded:
    """The file at `url`, in `folder` under the name its server gives it. Raises NotDownloaded."""
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        url, version = _asked(url, tls)
        path = folder / version.name
        if path.exists() and version.condition and _noted(path) == version:
            return Downloaded(path, False)
        _bring(url, version, path, tls, progress)
    except http.client.HTTPException as error:
        raise NotDownloaded(f"the server speaks no HTTP ({type(error).__name__})") from None
    except ssl.SSLCertVerificationError as error:
        raise NotDownloaded(f"the server's certificate does not hold: {error.verify_message}") from None
    except OSError as error:
        raise NotDownloaded(f"the server cannot be reached ({error.strerror or type(error).__name__})") from None
    return Downloaded(path, True)


def _request(url: str, method: str, headers: dict[str, str], tls: ssl.SSLContext) -> http.client.HTTPResponse:
    place = urlsplit(url)
    if place.scheme != "https" or not place.hostname:
        raise NotDownloaded(f"{place.scheme or url}: only addresses that begin with https:// are followed")
    connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=SECONDS, context=tls)
    target = f"{place.path or '/'}{'?' + place.query if place.query else ''}"
    connection.request(method, target, headers={**_HEADERS, **headers})
    return connection.getresponse()


def _asked(url: str, tls: ssl.SSLContext) -> tuple[str, Version]:
    """Where redirects lead to, and what is there."""
    for _ in range(REDIRECTS + 1):
        with _request(url, "HEAD", {}, tls) as answer:
            if answer.status in {301, 302, 303, 307, 308}:
                url = urljoin(url, answer.headers.get("Location", ""))
                continue
            if answer.status != http.client.OK:
                raise NotDownloaded(f"the server answers {answer.status}")
            told = _DISPOSITION.search(answer.headers.get("Content-Disposition", ""))
            name = (told[1] if told else urlsplit(url).path).strip().rpartition("/")[2]
            if _NAME.fullmatch(name) is None:
                raise NotDownloaded("the server names no .zip, .txt or .csv file")
            size = answer.headers.get("Content-Length", "0")
            return url, Version(
                name,
                answer.headers.get("ETag", ""),
                answer.headers.get("Last-Modified", ""),
                int(size) if size.isdecimal() else 0,
            )
    raise NotDownloaded("the server redirects without end")


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.version")


def _noted(path: Path) -> Version | None:
    try:
        return Version(**json.loads(_note(path).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _bring(url: str, version: Version, path: Path, tls: ssl.SSLContext, progress: Progress) -> None:
    part = path.with_name(f"{path.name}.part")
    if not version.condition or _noted(part) != version:
        part.unlink(missing_ok=True)
        _note(part).write_text(json.dumps(asdict(version)))
    tries = 0
    while True:
        had = part.stat().st_size if part.exists() else 0
        done = _bring_more(url, version, part, had, tls, progress)
        have = part.stat().st_size
        if done and have >= version.size:
            break
        tries = tries + 1 if have <= had else 0
        if tries >= TRIES:
            raise NotDownloaded(f"the connection ends again and again, {have} bytes of {version.size} are here")
    if version.size and have != version.size:
        part.unlink()
        raise NotDownloaded(f"{have} bytes came where {version.size} were told")
    _note(part).replace(_note(path))
    part.replace(path)


def _bring_more(url: str, version: Version, part: Path, had: int, tls: ssl.SSLContext, progress: Progress) -> bool:
    """One connection; whether it came to its end."""
    headers = {"Range": f"bytes={had}-", "If-Range": version.condition} if had else {}
    with _request(url, "GET", headers, tls) as answer:
        if answer.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            return False
        if answer.status not in {http.client.OK, http.client.PARTIAL_CONTENT}:
            raise NotDownloaded(f"the server answers {answer.status}")
        goes_on = answer.status == http.client.PARTIAL_CONTENT
        have = had if goes_on else 0
        with part.open("ab" if goes_on else "wb") as file:
            try:
                while piece := answer.read(PIECE):
                    have += len(piece)
                    if have > LARGEST:
                        raise NotDownloaded(f"larger than {LARGEST} bytes")
                    file.write(piece)
                    progress(version.name, have, version.size)
            except (http.client.IncompleteRead, ssl.SSLError, ConnectionError, TimeoutError):
                return False
            finally:
                file.flush()
                os.fsync(file.fileno())
    return True
