"""Counters of the whole product, in one place, for Prometheus. No label ever holds a person."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("caducee_messages_total", "Messages taken or refused at the edge", ["edge", "outcome"])
SIGNATURES = Counter("caducee_signatures_total", "S/MIME verdicts given on accepted messages", ["status"])
GROUP_SIZE = Histogram("caducee_commit_group_messages", "Messages that shared one commit", buckets=(1, 2, 4, 8, 16))
SENT = Counter(
    "caducee_sent_total", "Attempts to take a recipient's mail to another operator, by their end", ["outcome"]
)
UNKNOWN_RECIPIENTS = Counter("caducee_unknown_recipients_total", "Recipients asked for that have no mailbox here")
ALARMS = Counter("caducee_alarms_total", "Volumes out of the usual", ["kind"])
SESSIONS = Gauge("caducee_sessions", "Connections open now", ["edge"])
SIGN_INS = Counter("caducee_sign_ins_total", "Sign-ins by outcome", ["edge", "outcome"])
REWRAPPED = Counter("caducee_keys_rewrapped_total", "Message keys re-wrapped with their mailbox's symmetric key")
CARRIED = Counter("caducee_carried_total", "Messages sent or received, by type of mailbox", ["way", "mailbox"])
CONNECTIONS = Counter(
    "caducee_connections_total", "Sign-ins that succeeded, by type of mailbox", ["protocol", "mailbox"]
)
CERTIFICATES = Gauge("caducee_certificates_troubled", "Certificates found weak, shared, ending or revoked", ["trouble"])
PEERS = Counter(
    "caducee_peers_total", "Connections with other operators, by what is known of their certificate", ["status"]
)
FETCHES = Counter("caducee_fetches_total", "Fetches of white list, revocation lists and answers", ["kind", "outcome"])
TRUST_DOMAINS = Gauge("caducee_trust_domains", "Domains in the trust space as this process knows it")
