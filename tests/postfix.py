"""A Postfix operator (Debian's package): mutual TLS both ways, mailboxes as maildirs, in a private folder of its own.

Postfix cannot be given a DNS port, so transport_maps say where the others are. Its users speak to it in clear on a port
of its loopback address: they are in its house, not in the trust space.
"""

from __future__ import annotations

import os
import pwd
import smtplib
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from crypto.pki import development
from server.base import clock
from tests.foreign import Foreign
from tests.programs import need

CLOSED = "ferme"  # a mailbox that takes mail and then gives it back
# The services of Debian's master.cf that this operator uses; none in a chroot, whose files only an installation fills.
SERVICES = """\
{host}:{port} inet n - n - - smtpd
{host}:{users_port} inet n - n - - smtpd
  -o smtpd_tls_security_level=none
  -o smtpd_client_restrictions=
  -o smtpd_relay_restrictions=permit_mynetworks,reject
  -o smtpd_recipient_restrictions=permit_mynetworks,reject
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
late unix - n n - - pipe user=nobody argv=/bin/sh -c {{exit 67}}
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
SETTINGS = """\
compatibility_level = 3.6
queue_directory = {place}/spool
data_directory = {place}/data
maillog_file = {place}/log
maillog_file_prefixes = {place}
myhostname = mx.{domain}
myorigin = {domain}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
smtp_bind_address = {host}
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {place}/mail
virtual_mailbox_maps = texthash:{place}/etc/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
transport_maps = texthash:{place}/etc/transport
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
message_size_limit = 40000000
virtual_mailbox_limit = 0
in_flow_delay = 0
# In: a certificate of a trusted root whose fingerprint is a member's, or nothing.
smtpd_tls_security_level = encrypt
smtpd_tls_mandatory_protocols = >=TLSv1.2
smtpd_tls_cert_file = {place}/pki/server.pem
smtpd_tls_key_file = {place}/pki/server.key
smtpd_tls_CAfile = {place}/etc/roots.pem
smtpd_tls_req_ccert = yes
smtpd_tls_ask_ccert = yes
smtpd_tls_fingerprint_digest = sha256
smtpd_tls_received_header = yes
smtpd_client_restrictions = check_ccert_access texthash:{place}/etc/members, reject
smtpd_relay_restrictions = reject_unauth_destination
# Out: our certificate shown; theirs under a trusted root, with the name of the member.
smtp_tls_security_level = verify
smtp_tls_policy_maps = texthash:{place}/etc/policy
smtp_tls_mandatory_protocols = >=TLSv1.2
smtp_tls_cert_file = {place}/pki/server.pem
smtp_tls_key_file = {place}/pki/server.key
smtp_tls_CAfile = {place}/etc/roots.pem
smtp_tls_fingerprint_digest = sha256
"""


class Postfix(Foreign):
    """One operator. `make` its PKI, `trust` the others, `start`; `stop` ends all its processes and drops its folder."""

    def __init__(self, domain: str, host: str, port: int, users: Sequence[str]) -> None:
        """`users`: the mailboxes, as names without domain. Skips the test where Postfix cannot run."""
        self._program = need("postfix")
        if os.geteuid() != 0:
            pytest.skip("Postfix runs as root")
        self.domain, self.host, self.port, self.users = domain, host, port, users
        # Under the system's own folder: Postfix' processes are no user that may enter a private one.
        self.place = Path(tempfile.mkdtemp(prefix="caducee-postfix-"))
        self.users_port = 0

    @property
    def root(self) -> Path:
        """The PEM file of the root that this operator's certificate leads to."""
        return self.place / "pki" / "root.pem"

    @property
    def subject(self) -> str:
        """The name in the operator's certificate, as a list writes it."""
        certificate = x509.load_pem_x509_certificate((self.place / "pki" / "server.pem").read_bytes())
        return certificate.subject.rfc4514_string()

    def make(self) -> None:
        """Folders and PKI, so that the others can be told of them."""
        self.place.chmod(0o755)
        for name in ("etc", "spool", "data", "mail"):
            (self.place / name).mkdir()
        owner = pwd.getpwnam("postfix")
        os.chown(self.place / "data", owner.pw_uid, owner.pw_gid)
        nobody = pwd.getpwnam("nobody")
        os.chown(self.place / "mail", nobody.pw_uid, nobody.pw_gid)
        development.create(self.place / "pki", self.domain, clock.now(), [f"mx.{self.domain}"])

    def trust(self, others: Mapping[str, tuple[str, Path, Path]]) -> None:
        """`others`: domain → (address, certificate, root) of the operator that serves it (PEM files)."""
        etc = self.place / "etc"
        with socket.socket() as probe:
            probe.bind((self.host, 0))
            self.users_port = probe.getsockname()[1]
        nobody = pwd.getpwnam("nobody")
        values = {
            "place": self.place,
            "domain": self.domain,
            "host": self.host,
            "port": self.port,
            "users_port": self.users_port,
            "uid": nobody.pw_uid,
            "gid": nobody.pw_gid,
        }
        (etc / "main.cf").write_text(SETTINGS.format(**values))
        (etc / "master.cf").write_text(SERVICES.format(**values))
        (etc / "mailboxes").write_text("".join(f"{user}@{self.domain} {user}/\n" for user in (*self.users, CLOSED)))
        prints = {address: _fingerprint(certificate) for address, certificate, _ in others.values()}
        policy = "".join(f"[{address}]:{self.port} fingerprint match={it}\n" for address, it in prints.items())
        (etc / "policy").write_text(policy)
        (etc / "members").write_text("".join(f"{it} OK\n" for it in prints.values()))
        (etc / "roots.pem").write_bytes(b"".join({root: root.read_bytes() for _, _, root in others.values()}.values()))
        ways = [f"{domain} smtp:[{address}]:{self.port}\n" for domain, (address, _, _) in others.items()]
        # Taken at the door and given back later, by a program that knows no user (EX_NOUSER).
        ways.append(f"{CLOSED}@{self.domain} late:\n")
        (etc / "transport").write_text("".join(ways))

    def start(self) -> None:
        """Start its master in a session of its own, so that what it signals is only its own."""
        etc = str(self.place / "etc")
        checked = subprocess.run([self._program, "-c", etc, "check"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr + self.log()
        programs = subprocess.run(
            [need("postconf"), "-c", etc, "-h", "daemon_directory"], capture_output=True, text=True, check=True
        )
        master = f"{programs.stdout.strip()}/master"
        self.run([master, "-c", etc, "-d"], self._answers, (OSError,))

    def _answers(self) -> None:
        for port in (self.port, self.users_port):
            socket.create_connection((self.host, port), timeout=5).close()

    def submission(self) -> smtplib.SMTP:
        """A session of one of its users."""
        return smtplib.SMTP(self.host, self.users_port, timeout=30)

    def mails(self, user: str) -> list[bytes]:
        """What is in a mailbox, as delivered: lines end with LF alone in a maildir, here with CR LF again."""
        box = self.place / "mail" / user / "new"
        if not box.exists():
            return []
        return [file.read_bytes().replace(b"\n", b"\r\n") for file in sorted(box.iterdir())]


def _fingerprint(certificate: Path) -> str:
    """SHA-256 of the certificate, as Postfix writes it."""
    return x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(hashes.SHA256()).hex(":").upper()
