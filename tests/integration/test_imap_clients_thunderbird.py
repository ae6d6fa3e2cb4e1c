"""Thunderbird sets itself up by autoconfiguration, and reads and sorts a mailbox of a whole Caducée."""

from __future__ import annotations

import imaplib
import time
from collections.abc import Iterator

import pytest

from tests.serving import DOMAIN, Served
from tests.thunderbird import Thunderbird

WAIT_SECONDS = 60
LETTER = (
    "From: <dr.martin@msg.exemple.fr>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@t>\r\n\r\nCorps {subject}\r\n"
)

# The root is trusted, the account found and made by the program's own modules, as its assistant does.
SET_UP = """
const [root, address, password] = given;
const module = name => ChromeUtils.importESModule(`resource:///modules/accountcreation/${name}.sys.mjs`)[name];
Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(root, "C,,");
const domain = address.split("@")[1];
const config = await module("FetchConfig").fromISP(domain, address, new AbortController().signal);
module("AccountConfig").replaceVariables(config, "Pharmacie", address, password);
const account = await module("CreateInBackend").createAccountInBackend(config);
const { incoming, outgoing } = config;
return [incoming, outgoing].map(way => [way.type, way.hostname, way.port, way.username, way.socketType, way.auth]);
"""
# What follows is in front of each script below.
TOOLS = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.accounts.map(one => one.incomingServer).find(one => one.type == "imap");
const until = async (what, question) => {
  for (let tries = 0; tries < 1200; tries++) {
    let found = null;
    try { found = await question(); } catch (error) { found = null; }
    if (found) return found;
    await new Promise(resolve => setTimeout(resolve, 50));
  }
  throw new Error(`waited in vain for ${what}`);
};
const called = name => until(name, () => server.rootFolder.getChildNamed(name));
const updated = folder => new Promise(resolve => folder.QueryInterface(Ci.nsIMsgImapMailFolder)
  .updateFolderWithListener(null, { OnStartRunningUrl() {}, OnStopRunningUrl() { resolve(); } }));
const find = (folder, subject) => [...folder.messages].find(one => one.subject == subject);
const header = async (folder, subject) => until(subject, () => find(folder, subject));
"""
FOLDERS = """
server.performExpand(null);
await called("Trash");
const flags = Ci.nsMsgFolderFlags;
const uses = { INBOX: flags.Inbox, Sent: flags.SentMail, Drafts: flags.Drafts, Trash: flags.Trash, Junk: flags.Junk };
const has = (name, use) => server.rootFolder.getChildNamed(name).flags & use;
await until("special uses", () => Object.entries(uses).every(([name, use]) => has(name, use)));
return server.rootFolder.subFolders.map(folder => folder.name).sort();
"""
READ = """
const inbox = await called("INBOX");
await updated(inbox);
const wanted = await header(inbox, "un");
const uri = inbox.getUriForMsg(wanted);
const text = await new Promise((resolve, reject) => {
  let octets = "";
  MailServices.messageServiceFromURI(uri).streamMessage(uri, {
    QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
    onStartRequest() {},
    onStopRequest(request, status) { Components.isSuccessCode(status) ? resolve(octets) : reject(new Error(status)); },
    onDataAvailable(request, stream, offset, count) {
      const reader = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream);
      reader.init(stream);
      octets += reader.readBytes(count);
    },
  }, null, null, false, "", false);
});
return { text, subjects: [...inbox.messages].map(one => one.subject).sort() };
"""
SORT = """
const inbox = await called("INBOX");
const archive = await called("Archive");
inbox.markMessagesRead([await header(inbox, "un")], true);
inbox.markMessagesFlagged([await header(inbox, "deux")], true);
MailServices.copy.copyMessages(inbox, [await header(inbox, "trois")], archive, true, null, null, false);
const file = Services.dirsvc.get("TmpD", Ci.nsIFile);
file.append("caducee-draft.eml");
file.createUnique(Ci.nsIFile.NORMAL_FILE_TYPE, 0o600);
await IOUtils.writeUTF8(file.path, given[0]);
const drafts = await called("Drafts");
await new Promise((resolve, reject) => MailServices.copy.copyFileMessage(file, drafts, null, true, 0, "", {
  QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
  onStopCopy(status) { Components.isSuccessCode(status) ? resolve() : reject(new Error(`copy ${status}`)); },
}, null));
await IOUtils.remove(file.path);
server.rootFolder.createSubfolder("Dossiers é", null);
"""
NEWS = """
const inbox = await called("INBOX");
await header(inbox, "quatre");
return [...inbox.messages].length;
"""


@pytest.fixture(scope="module")
def thunderbird(running: Served) -> Iterator[Thunderbird]:
    program = Thunderbird(DOMAIN, running.ports["web"])
    try:
        yield program
    finally:
        program.close()


def test_it_finds_the_server_and_keeps_a_mailbox(running: Served, thunderbird: Thunderbird) -> None:
    address, here = running.pharmacy, running.imap(running.pharmacy)
    for subject in ("un", "deux", "trois"):
        here.append("INBOX", None, None, LETTER.format(subject=subject).encode())
    root = "".join(line for line in (running.home / "pki/root.pem").read_text().splitlines() if "-----" not in line)
    # 3: TLS from the first octet, a password under it; the program takes what the document names first.
    assert thunderbird.run(SET_UP, root, address, running.passwords[address]) == [
        ["imap", DOMAIN, running.ports["imap_tls"], address, 3, 3],
        ["smtp", DOMAIN, running.ports["submission_tls"], address, 3, 3],
    ]
    assert f"autoconfig.{DOMAIN}:443" in thunderbird.proxy.asked
    assert thunderbird.run(TOOLS + FOLDERS) == ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]
    read = thunderbird.run(TOOLS + READ)
    assert read["subjects"] == ["deux", "trois", "un"]
    assert read["text"].replace("\r\n", "\n").endswith(LETTER.format(subject="un").replace("\r\n", "\n"))
    thunderbird.run(TOOLS + SORT, LETTER.format(subject="brouillon"))
    wait(here, "INBOX", 'SEEN SUBJECT "un"')
    wait(here, "INBOX", 'FLAGGED SUBJECT "deux"')
    wait(here, "Archive", 'SUBJECT "trois"')
    wait(here, "Drafts", 'SUBJECT "brouillon"')
    wait(here, "INBOX", 'DELETED SUBJECT "trois"', found=False)
    # What is delivered while it idles is seen without asking.
    here.append("INBOX", None, None, LETTER.format(subject="quatre").encode())
    assert thunderbird.run(TOOLS + NEWS) >= 3
    assert any(b"Dossiers &AOk-" in line for line in here.list()[1] if isinstance(line, bytes))
    here.logout()


def wait(client: imaplib.IMAP4, folder: str, query: str, found: bool = True) -> None:
    """Until a search finds something, or nothing."""
    client.select(folder, readonly=True)
    deadline = time.monotonic() + WAIT_SECONDS
    while bool(client.uid("search", query)[1][0]) is not found:
        assert time.monotonic() < deadline, query
        time.sleep(0.05)
        client.noop()
