"""A real Chromium, driven over its own DevTools pipe: enough to sign in, read and answer as a patient would.

The protocol is JSON documents ended by NUL on file descriptors 3 (in) and 4 (out) of the browser
(`--remote-debugging-pipe`); nothing listens on the network.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from urllib.request import Request, urlopen

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FLAGS = [
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--accept-lang=fr-FR",
    "--window-size=360,780",
]


class BrowserError(Exception):
    """The page did not do what the step expects."""


def find() -> str | None:
    """The Chromium of this machine, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page of one Chromium, with a profile of its own; a context manager that leaves nothing behind."""

    def __init__(self, program: str, certificate: Path) -> None:
        """Trusts exactly the key of `certificate` (PEM), which a browser does not know, and no other unknown one."""
        key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
        spki = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        self._trust = ssl.create_default_context(cafile=str(certificate))
        self._trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self._profile = tempfile.TemporaryDirectory(prefix="caducee-demo-")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        flags = [
            *FLAGS,
            f"--user-data-dir={self._profile.name}",
            f"--ignore-certificate-errors-spki-list={base64.b64encode(spki).decode()}",
        ]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium's own sandbox refuses root; the page is ours

        def plug() -> None:
            # Both ends move out of the way first: either may already be number 3 or 4.
            incoming, outgoing = os.dup(to_browser), os.dup(from_browser)
            os.dup2(incoming, 3)
            os.dup2(outgoing, 4)

        self._process = subprocess.Popen(  # noqa: S603 - the program is Chromium, found on PATH
            [program, *flags, "about:blank"],
            preexec_fn=plug,
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._number = 0
        self._events: list[str] = []
        self._session: str | None = None
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        self._call("Page.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *trouble: object) -> None:
        os.close(self._write)  # end of input: Chromium ends by itself
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        self._profile.cleanup()

    def open(self, url: str) -> None:
        """Go to an address and wait until the page has loaded."""
        self._events.clear()
        answer = self._call("Page.navigate", url=url)
        if answer.get("errorText"):
            raise BrowserError(f"the page did not open: {answer['errorText']}")
        self._wait("Page.loadEventFired")

    def fill(self, selector: str, text: str) -> None:
        """Type into a field."""
        self._on(selector, "element.focus(); element.value = text", text)

    def click(self, selector: str, holding: str = "") -> None:
        """Press the first link or button that holds this text and leads to a new page, and wait for it."""
        self._events.clear()
        self._on(selector, "setTimeout(() => element.click(), 0)", "", holding)
        self._wait("Page.loadEventFired")

    def text(self) -> str:
        """What a person can read on the page."""
        return str(self._evaluate("document.body.innerText"))

    def attribute(self, selector: str, name: str) -> str:
        """The value of an attribute of the first element that matches."""
        return str(self._on(selector, "return element.getAttribute(text)", name))

    def fetch_sha256(self, url: str) -> str:
        """What a link of the page leads to, fetched with the browser's session; its SHA-256 in hexadecimal.

        Not by a script of the page, which the page's policy (CSP) forbids.
        """
        address = urljoin(str(self._evaluate("location.href")), url)
        cookies = self._call("Network.getCookies", urls=[address])["cookies"]
        session = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in cookies)
        request = Request(address, headers={"Cookie": session})  # noqa: S310 - https, of the story's own server
        with urlopen(request, timeout=30, context=self._trust) as answer:  # noqa: S310
            return hashlib.sha256(answer.read()).hexdigest()

    def _on(self, selector: str, act: str, text: str, holding: str = "") -> Any:
        return self._evaluate(
            f"((element, text) => {{ if (!element) throw new Error('nothing matches'); {act} }})"
            f"([...document.querySelectorAll({json.dumps(selector)})]"
            f".find(one => one.textContent.includes({json.dumps(holding)})), {json.dumps(text)})"
        )

    def _evaluate(self, expression: str) -> Any:
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"the page refused {expression[:80]!r}")
        return answer["result"].get("value")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        document: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            document["sessionId"] = self._session
        os.write(self._write, json.dumps(document).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error'].get('message')}")
                return dict(answer["result"])

    def _wait(self, event: str) -> None:
        while event not in self._events:
            self._next()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            read = os.read(self._read, 1 << 16)
            if not read:
                raise BrowserError("the browser ended")
            self._buffer += read
        document, _, self._buffer = self._buffer.partition(b"\0")
        answer = dict(json.loads(document))
        if "method" in answer:
            self._events.append(answer["method"])
        return answer
