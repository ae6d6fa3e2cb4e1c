"""A Thunderbird (Debian's package) without a screen, driven over Marionette's own protocol, in a profile of its own.

It finds the server as it would on the Internet: a name is led to this machine, and port 443 of it to where the pages
listen, by a proxy that lets it go nowhere else.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.programs import need

START_SECONDS = 90
SCRIPT_SECONDS = 90


class Proxy:
    """A CONNECT proxy to one place. `asked` holds the names that were asked for."""

    def __init__(self, domain: str, port: int) -> None:
        self.asked: list[str] = []
        self._domain, self._port = domain, port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (more := client.recv(4_096)):
            head += more
        verb, _, rest = head.decode("latin-1").partition(" ")
        place = rest.partition(" ")[0]
        self.asked.append(place)
        name = place.removesuffix(":443")
        if verb != "CONNECT" or name == place or f".{name}".removesuffix(f".{self._domain}") == f".{name}":
            client.sendall(b"HTTP/1.1 502 Not here\r\n\r\n")
            client.close()
            return
        server = socket.create_connection(("127.0.0.1", self._port))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=_pump, args=(client, server), daemon=True).start()
        _pump(server, client)


def _pump(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65_536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        return  # either side went away


class Thunderbird:
    """One running program; `run` a script in it, `close` ends it and drops its profile."""

    def __init__(self, domain: str, web_port: int) -> None:
        """Skips the test where there is no Thunderbird."""
        program = need("thunderbird")
        self.proxy = Proxy(domain, web_port)
        self.profile = Path(tempfile.mkdtemp(prefix="caducee-thunderbird-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = {
            "marionette.port": port,
            "network.dns.localDomains": domain,
            "network.proxy.type": 1,
            "network.proxy.ssl": "127.0.0.1",
            "network.proxy.ssl_port": self.proxy.port,
            "network.proxy.http": "127.0.0.1",
            "network.proxy.http_port": self.proxy.port,
            "app.update.enabled": False,
            "datareporting.policy.dataSubmissionEnabled": False,
            "mail.provider.suppress_dialog_on_startup": True,
            "mail.shell.checkDefaultClient": False,
            "mail.spotlight.firstRunDone": True,
            "mailnews.start_page.enabled": False,
        }
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in settings.items()]
        (self.profile / "user.js").write_text("".join(lines))
        self._log = (self.profile / "log").open("wb")
        self.process = subprocess.Popen(
            [
                *(program, "--headless", "--no-remote", "--profile", str(self.profile)),
                *("--marionette", "--remote-allow-system-access"),
            ],
            env=os.environ | {"HOME": str(self.profile)},
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._socket = socket.create_connection(("127.0.0.1", port), timeout=SCRIPT_SECONDS + 30)
                break
            except OSError:
                assert self.process.poll() is None, self.log()
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.05)
        self._file = self._socket.makefile("rb")
        self._number = 0
        self._receive()  # its greeting
        self._ask("WebDriver:NewSession", capabilities={"alwaysMatch": {"acceptInsecureCerts": False}})
        self._ask("WebDriver:SetTimeouts", script=SCRIPT_SECONDS * 1_000)
        self._ask("Marionette:SetContext", value="chrome")

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of an asynchronous function's body, run with the program's own rights; raises what it throws."""
        body = (
            "const done = arguments[arguments.length - 1];"
            f"(async (...given) => {{{script}}})(...arguments)"
            '.then(value => done({value}), error => done({error: `${error}`, stack: error?.stack ?? ""}));'
        )
        answer = self._ask("WebDriver:ExecuteAsyncScript", script=body, args=list(arguments))["value"]
        assert "error" not in answer, f"{answer['error']}\n{answer['stack']}"
        return answer.get("value")

    def close(self) -> None:
        self._socket.close()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.proxy.close()
        self._log.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def log(self) -> str:
        """The end of what it printed, for a failure's message."""
        return (self.profile / "log").read_text(errors="replace")[-3_000:]

    def _ask(self, command: str, **parameters: Any) -> Any:
        """One command: its length in octets, ":", then JSON of [0, number, name, parameters]."""
        self._number += 1
        text = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(text), text))
        _, number, error, value = self._receive()
        assert number == self._number
        assert error is None, error
        return value

    def _receive(self) -> Any:
        size = b""
        while (octet := self._file.read(1)) != b":":
            assert octet, self.log()
            size += octet
        return json.loads(self._file.read(int(size)))
