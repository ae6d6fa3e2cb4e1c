"""A Dovecot (Debian's package) as another operator's IMAP server, in a private folder of its own.

Its holder's folders lie below the prefix "INBOX.", with "." between levels, as many operators have it.
"""

from __future__ import annotations

import imaplib
import os
import pwd
import socket
import ssl
import tempfile
from pathlib import Path

import pytest

from crypto.pki import development
from server.base import clock
from tests.foreign import Foreign
from tests.programs import need

HOST = "mail.autre.example"
USER, PASSWORD = "dr.ailleurs", 'mot de "passe" é\\'
SETTINGS = """\
base_dir = {place}/run
state_dir = {place}/state
log_path = {place}/log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{place}/pki/server.pem
ssl_key = <{place}/pki/server.key
auth_mechanisms = plain login
mail_location = maildir:{place}/mail/%n
mail_uid = nobody
mail_gid = {group}
first_valid_uid = 1
first_valid_gid = 1
maildir_very_dirty_syncs = yes
default_vsz_limit = 1G
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {place}/users
}}
userdb {{
  driver = static
  args = home={place}/mail/%n
}}
namespace inbox {{
  inbox = yes
  prefix = INBOX.
  separator = .
  mailbox Envoyes {{
    special_use = \\Sent
    auto = subscribe
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
"""


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


class Dovecot(Foreign):
    """One server with one account. `stop` ends its processes and drops its folder."""

    def __init__(self) -> None:
        """Skips the test where Dovecot cannot run."""
        self._program = need("dovecot")
        if os.geteuid() != 0:
            pytest.skip("Dovecot runs as root")
        # Under the system's own folder: Dovecot's processes are no user that may enter a private one.
        self.place = Path(tempfile.mkdtemp(prefix="caducee-dovecot-"))
        self.place.chmod(0o755)
        self.port, self.tls_port = _free_ports()
        development.create(self.place / "pki", "autre.example", clock.now(), [HOST, "localhost"])
        nobody = pwd.getpwnam("nobody")
        self.mail = self.place / "mail"
        self.mail.mkdir()
        os.chown(self.mail, nobody.pw_uid, nobody.pw_gid)
        (self.place / "users").write_text(f"{USER}:{PASSWORD}\n")
        values = {"place": self.place, "port": self.port, "tls_port": self.tls_port, "group": nobody.pw_gid}
        (self.place / "dovecot.conf").write_text(SETTINGS.format(**values))

    @property
    def root(self) -> Path:
        """The PEM file of the root that its certificate leads to."""
        return self.place / "pki" / "root.pem"

    def start(self) -> None:
        command = [self._program, "-F", "-c", str(self.place / "dovecot.conf")]
        self.run(command, self._answers, (OSError, imaplib.IMAP4.error))

    def _answers(self) -> None:
        self.client().logout()

    def client(self) -> imaplib.IMAP4_SSL:
        """A client, signed in."""
        client = imaplib.IMAP4_SSL(
            "localhost", self.tls_port, ssl_context=ssl.create_default_context(cafile=str(self.root)), timeout=30
        )
        client.authenticate("PLAIN", lambda _: f"\0{USER}\0{PASSWORD}".encode())
        return client
