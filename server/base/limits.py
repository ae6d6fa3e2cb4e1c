"""One named constant per limit, with why that number. A limit that an operator must turn is a setting instead."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
MB = 1_000_000  # where a text says "Mo" or "MB"

# TLS. A peer that does not answer our close_notify has what we sent before it; asyncio would wait 30 s.
TLS_CLOSE_SECONDS = 2
TLS_UNASKED_BYTES = 4 * MIB  # unsent, when the peer makes TLS itself answer: past all that an edge writes at once

# PROXY protocol. A balancer on the same network says all at once; TLVs may hold a certificate's names.
PROXY_HEADER_BYTES = 4 * KIB
PROXY_HEADER_SECONDS = 5

# SMTP. RFC 5321 §4.5.3.1.4 asks for 512 octets a command line, extensions add (AUTH 12288: RFC 4954 §4).
SMTP_LINE = 12_288
SMTP_RECIPIENTS = 100  # RFC 5321 §4.5.3.1.8 minimum; more in one transaction holds too many folder locks
SMTP_BAD_COMMANDS = 20  # a client in error learns nothing more after this many
SMTP_IDLE_SECONDS = 300  # RFC 5321 §4.5.3.2.7: at least 5 minutes, for a whole command and for each piece of content
SMTP_CONTENT_SECONDS = (
    3_600  # a whole content: the largest message over 64 kbit/s; who drips holds no memory for longer
)
SMTP_UNAUTHENTICATED_BYTES = 64 * KIB  # what a stranger may make us read before AUTH or a peer certificate
SMTP_SIGN_IN_SECONDS = 60  # EHLO, STARTTLS and AUTH take a program a second; a stranger holds no session for longer
SMTP_HANDSHAKE_SECONDS = 20  # TLS over a bad line; OpenSSL needs some milliseconds
SMTP_SESSIONS = 1_000  # of one worker: some 100 KiB each with TLS, and file descriptors (usual limit 1,024)
SMTP_STRANGERS = 100  # of one network, until TLS and sign-in tell who they are: a hospital's programs after a power cut
SMTP_HOLD_SECONDS = 7 * 24 * 3_600  # RFC 4865: "Monday morning" is what people ask for; nobody remembers longer ones
SMTP_READ_AHEAD = 256 * KIB  # octets that may wait unread in a session before its socket is no longer read
SMTP_SIGN_INS = 6  # failed AUTH commands of one connection: RFC 4954 §4 asks for 3, clients try each mechanism in turn
SIGN_IN_SESSION_SECONDS = 4 * 3600  # of a sign-in by token or to a shared mailbox: as long as Pro Santé Connect's
SOFTWARE_RATE = 10  # how many times a person's hourly limits the mailbox of a program (APP) may send
ADDRESS = 254  # RFC 5321 §4.5.3.1.3 less the brackets

# IMAP.
IMAP_LINE = 64 * KIB  # RFC 2683 §3.2.1.5 says 8,000 is enough; UID sets of real clients are longer
IMAP_LINE_BEFORE_LOGIN = 16 * KIB  # a bearer token with its base64
IMAP_LITERAL_BEFORE_LOGIN = 4 * KIB  # a name and a password
IMAP_NESTING = 32  # parentheses in SEARCH or FETCH
IMAP_BAD_COMMANDS = 20
IMAP_INFLATE = 16 * KIB  # octets inflated at a time: a thousandth of what a bomb would make of the input that waits
IMAP_NOTIFY_GROUPS = 20  # of mailboxes in one NOTIFY …
IMAP_NOTIFY_NAMES = 200  # … names in a group …
IMAP_NOTIFY_FOLDERS = 300  # … and folders that a session may have watched
IMAP_PROGRESS_SECONDS = 10  # RFC 9585 §3: how often a client that waits hears that something is being done
IMAP_IDLE_SECONDS = 1_860  # RFC 9051 §5.4: autologout not before 30 minutes
IMAP_LOGIN_SECONDS = 60  # a stranger who does not sign in frees the slot, whatever they send
IMAP_SEND_SECONDS = 120  # a reader that takes nothing for so long is gone
IMAP_LITERAL = 64 * KIB  # an argument sent as a literal; only APPEND and REPLACE may send more
IMAP_LITERALS = 100  # literals in one command: a SEARCH may quote many words, a MULTIAPPEND bring many messages
IMAP_PATTERNS = 10  # of one LIST: clients ask for INBOX and what is below one name
IMAP_MESSAGE_IN_MEMORY = 1 * MIB  # a larger literal of APPEND is stored while it comes
IMAP_PASSED_OVER = 256 * MIB  # a refused literal that comes anyway is thrown away as it comes; past this, hang up
IMAP_SEARCH_KEYS = 500  # keys in one SEARCH, nested ones counted
IMAP_SEARCH_OCTETS = 64 * KIB  # of all strings in one SEARCH: each is looked for in every text
IMAP_SEARCH_SECONDS = 900  # of one command; a mailbox of 100,000 whose texts were never searched takes some 100
IMAP_SEARCH_SOURCES = 1_000  # mailboxes that one ESEARCH names, as many as there may be
IMAP_CONTEXTS = 16  # searches of a session that are kept up to date (RFC 5267 §4.3.1)
IMAP_CONTEXT_RESULTS = 200_000  # messages in all of them: some 100 octets each; one search may have more
IMAP_SORT_OCTETS = 1_000  # a message that is sorted or threaded takes while it is, out of WORKER_BUFFER_BYTES
IMAP_SORT_CRITERIA = 20  # there are nine keys
IMAP_FETCH_ITEMS = 100  # attributes in one FETCH
IMAP_FETCH_BYTES = 1 * MIB  # a body leaves in pieces of this size, each decrypted when the last one has left
BLOCK_SLACK = 100  # messages that a search opens one by one; past it it reads or makes their block
SMALL_MESSAGE = 64 * KIB  # opened whole, many in one query; of a larger one only the parts asked for
IMAP_FETCH_STEP = 100  # summaries opened at a time; between steps other sessions run
IMAP_INPUT_BYTES = 64 * KIB  # pipelined input kept while a command runs; past it the socket is not read
IMAP_OUTPUT_BYTES = 256 * KIB  # a handler waits when so much is unsent
IMAP_VIEWS = 2_000  # folder views a worker keeps warm after the last session left them …
IMAP_VIEW_ROWS = 500_000  # … and messages in them all (about 400 bytes each)
IMAP_JOURNAL = 4_096  # changes a view remembers for its sessions; one that lags more compares all rows

# MIME. Real clinical mail stays far below; peers fell on depth, count and header size (CVE-2020-12100, CVE-2024-23184).
MIME_DEPTH = 32
MIME_PARTS = 1_000
MIME_HEADER_BYTES = 256 * KIB
MIME_HEADER_COUNT = 1_000
MIME_PARAMETERS = 50
MESSAGE_ID_CHARACTERS = 500  # of a Message-ID in the trail: RFC 5322 §2.1.1 gives a line 998
MIME_ADDRESSES = 1_000
SUMMARY_HEADER_BYTES = 64 * KIB  # a longer header is read from the body instead
PREVIEW_OCTETS = 4_096  # of a part, encoded: 200 characters behind some lines of markup
PREVIEW_CHARACTERS = 200  # RFC 8970 §3.1: at most 200

# Store.
FOLDERS_PER_OWNER = 1_000
HANDED_PER_OWNER = 20  # messages that URLs hand over to submission; the one sent now, and some that never were
HANDED_SECONDS = 24 * 3600  # so long at most: a program sends what it has just written
METADATA_VALUE = 16 * KIB  # RFC 5464 §4.1 asks for 1,024 octets at least; clients keep signatures and filters there
METADATA_ENTRIES = 100  # of one folder and reader; RFC 5464 §4.1 asks for ten at least
METADATA_BYTES = 1 * MIB  # of a mailbox's annotations in all: a LIST that returns them reads them all
FOLDER_NAME_BYTES = 255
KEYWORDS_PER_MESSAGE = 64
STEP_MESSAGES = 1_000  # a command on more messages runs in steps, each its own transaction and modseq
LOCK_TIMEOUT_MS = 250  # a folder locked longer gets its delivery from the local queue
LARGE_MESSAGE_SECONDS = 2 * 3600  # for so long a message past 1 MiB may take to come; its pieces wait for longer
STRAY_PIECES_SECONDS = 3 * 3600  # pieces that no message took by then belong to a client that went away
GROUP_MESSAGES = 16  # messages that share a commit: past 8 to 16 the gain is lost in latency
KEY_CACHE_SECONDS = 600  # an opened mailbox key is forgotten after ten minutes
STATEMENT_TIMEOUT_SECONDS = 5  # no statement of ours holds a snapshot longer

# LDAP. A search for a professional is some hundred octets; filters of real clients nest three or four deep.
LDAP_MESSAGE_BYTES = 64 * KIB
LDAP_DEPTH = 32
LDAP_ELEMENTS = 1_000
LDAP_CONNECTIONS = 500  # idle for the most part; past it a new one is closed at once
LDAP_NETWORK_CONNECTIONS = 50  # of one network: a hospital's mail programs behind one address
LDAP_IDLE_SECONDS = 60  # of a stranger …
LDAP_SIGNED_IN_SECONDS = 900  # … and of who signed in: a mail program asks again while one writes
LDAP_OPERATIONS = 16  # of one connection, not yet answered; mail programs wait for each
LDAP_SIZE = 1_000  # entries of one answer, or one page
LDAP_STEP = 120  # entries read and sent at a time: mail programs ask for 100, and whether there are more
LDAP_PAGINGS = 4  # searches of one connection that stand between two pages
LDAP_SEARCH_SECONDS = 5  # of one page; what is found by index takes some milliseconds
LDAP_SEND_SECONDS = 30  # a reader that takes nothing for so long is gone
LDAP_SIGN_INS = 6  # failed ones of a connection, as by SMTP
LDAP_HANDSHAKE_SECONDS = 10

# Entries of the directory that one client is given, by whatever protocol: a thousand completions of ten an hour are a
# hospital's whole department; the nation would take a week.
HARVEST_ENTRIES = 5_000  # at once …
HARVEST_PER_SECOND = 3.0  # … and from then on
HARVEST_CLIENTS = 20_000  # remembered by one process: about 5 MB

# Tokens that one facility asks one process for: a shift begins, and each mail program comes back in 10 minutes.
FACILITY_TOKENS = 2_000  # at once …
FACILITY_TOKENS_PER_SECOND = 10.0  # … and from then on
FACILITY_FORM_BYTES = 4 * KIB

# Our authority's list and responder. A validator asks once in hours; one request a connection.
PKI_CONNECTIONS = 200
PKI_SECONDS = 10

# Web. Pages are forms of some kilobytes; nothing large is ever sent by a browser yet.
WEB_HEADER_BYTES = 16 * KIB  # request line and headers; a browser with our two cookies sends about 1 KiB
WEB_BODY_BYTES = 512 * KIB  # a reply of 100,000 characters, form-encoded
WEB_REPLY_CHARACTERS = 100_000  # about 30 pages
WEB_SUBJECT_CHARACTERS = 250  # three lines of a list
WEB_RECIPIENTS = 20  # of a message written in a page: a team; a mailing is a mail program's
WEB_FOUND = 20  # people and structures that a page of the directory lists
WEB_PROPOSED = 8  # that completion proposes: what fits on a telephone above the keyboard
WEB_HEADER_SECONDS = 10  # from connection to the last header: a slower client is no browser
WEB_REQUEST_SECONDS = 30  # a whole request, body and answer computed
WEB_CONNECTIONS = 1_000
WEB_PAGE_MESSAGES = 50  # messages listed on one page
WEB_TEXT_CHARACTERS = 1_000_000  # text of a message shown in a page; the rest is only downloaded
WEB_INLINE_BYTES = 64 * MIB  # an attachment is decoded in memory: a message is at most 25 MiB by default

# Sessions of the web.
SESSION_IDLE_SECONDS = 2 * 3600  # référentiel SC.SSI/IE.58: locked after two hours without a request
SESSION_LIFE_SECONDS = 12 * 3600  # a working day, whatever happens
SESSION_TOUCH_SECONDS = 60  # "last seen" is written at most once a minute: reading pages must not write rows
RECENT_SECONDS = 300  # so long after proving who one is, nobody else has sat down at the desk
SESSIONS_PER_OWNER = 50  # the oldest ends when one more begins

# Local accounts of patients, and what holders manage.
INVITATION_DAYS = 30  # a letter, a holiday, and time to ask somebody for help
INVITATION_TRIES = 5  # of one code by who knows its first letters: it was read wrong, or over a shoulder
ENROLMENT_SECONDS = 1_800  # from the code to the password or passkey: an application may have to be installed first
RECOVERY_CODES = 10
PASSWORD_CHARACTERS = 256  # NIST SP 800-63B asks for 64 at least
PASSWORDS_AT_ONCE = 2  # of one worker: 64 MiB and a core each
PASSWORDS_WAITING = 40  # some two seconds of that
CHALLENGE_SECONDS = 300  # WebAuthn §15.1: 300 to 600 s for who must look for their key
PASSKEY_RESPONSE_CHARACTERS = 16 * KIB  # a browser's answer has some 2,000
PASSKEYS_PER_OWNER = 20
DEVICES_PER_OWNER = 30  # browsers known to a mailbox; the one that was away longest is forgotten first
DEVICE_DAYS = 400  # as long as browsers keep a cookie (RFC 6265bis §5.5)
APP_PASSWORDS_PER_OWNER = 50
LABEL_CHARACTERS = 60  # what a holder calls something
ALERT_SECONDS = 3_600  # between two messages to a holder on sign-ins; the second tells what happened meanwhile
ALERTS_TOLD = 20  # events named in one message

# Operators.
OPERATOR_INVITATION_DAYS = 3  # handed over in person or by telephone
OPERATOR_IDLE_SECONDS = 30 * 60  # of a session: it may end anybody's access
OPERATOR_REQUEST_SECONDS = 24 * 3600  # a night between two people's shifts
OPERATOR_REASON_CHARACTERS = 500
OPERATOR_REQUESTS_SHOWN = 100
OPERATOR_TRAIL_SHOWN = 200  # events of one page

# Record.
DOCUMENT_BYTES = 64 * MIB
DOCUMENTS_PER_MESSAGE = 100
DOCUMENTS_JUDGED = 10  # of a message, for their signatures: a hostile one may take 10 s of CPU
PRESCRIPTION_BYTES = 5 * MIB  # a page or two; it is opened and shown whole
INTAKE_MESSAGES = 20  # taken in one step: with the largest documents they are done long before the lease ends
INTAKE_LEASE_SECONDS = 120  # a worker that died held them this long at most
INTAKE_ATTEMPTS = 5  # a message that failed so often is marked, for a person to look at
INTAKE_RETRY_SECONDS = 30  # times the attempts: what it needed may be away

# Misuse and misrouting, counted an hour.
UNKNOWN_RECIPIENTS_PER_SENDER = 50  # unknown ones a single sender may ask for: an old address book, not a search
NEAREST_ADDRESSES = 3  # proposed for an unknown one: past it a person searches the directory
ALARM_WINDOW_HOURS = 24
ALARM_USUAL_DAYS = 28  # four weeks: a practice's rhythm is the week's
ALARM_DAYS = 365  # as long as technical traces
ACQUAINTANCE_DAYS = 400  # who was not written to for a year and a month is a stranger again
REFUSALS_TOLD = 500  # refusals that a worker writes to the trail in a second; past it they are counted
SENDING_NAMES = 50_000  # mailboxes that send in one hour through one worker: about 10 MB at the very most
VOLUME_NAMES = 10_000  # senders, mailboxes and pairs counted in memory before they are told to the database

# A worker's memory.
LARGE_MESSAGE_BYTES = (
    8 * MIB
)  # what one past 1 MiB takes while it passes: a piece each for mailboxes and queue, what is kept
WORKER_BUFFER_BYTES = 256 * MIB  # messages in flight; past it new mail gets 452 and nothing dies
