"""`caducee dns`: the records that an operator publishes so that operators and mail programs find the services."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from server.base.places import MAIL_SERVICES, place
from server.base.settings import Settings
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, settings_of

TTL = 3600
SMTP = 25  # between operators (RFC 5321 §4.5.4.2); MX names no port
HTTPS = 443

# RFC 6186 §3, RFC 8314 §5.1: a service by its name in run/ports.json, its label, its priority. What begins with TLS is
# preferred; the référentiel's STARTTLS (ECO.1.0.1, ECO.1.0.2) is there for who asks for it alone.
_LABELS: Mapping[str, tuple[str, int]] = {
    "submission_tls": ("_submissions._tcp", 0),
    "submission": ("_submission._tcp", 10),
    "imap_tls": ("_imaps._tcp", 0),
    "imap": ("_imap._tcp", 10),
}


class Record(NamedTuple):
    """One resource record; names are whole, with the final dot."""

    name: str
    type: str
    data: str


def dns(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Print the DNS records to publish: MX, SRV and autoconfiguration, as lines of a zone file."""
    settings = settings_of(home)
    ports_file = settings.home / "run" / "ports.json"
    ports: dict[str, int] = json.loads(ports_file.read_text()) if ports_file.exists() else {}
    found, remarks = records(settings, ports), remarks_on(settings, ports)
    if as_json:
        answer_json({"records": [record._asdict() | {"ttl": TTL} for record in found], "remarks": remarks})
        return
    width = max(len(record.name) for record in found)
    lines = [f"{record.name:{width}} {TTL} IN {record.type:5} {record.data}" for record in found]
    out.print("\n".join([*(f"; {remark}" for remark in remarks), *lines]), markup=False)


def records(settings: Settings, ports: Mapping[str, int]) -> list[Record]:
    """What to publish. Raises Failure: a port is chosen at each start, and nothing runs."""
    found = [
        Record(f"{domain}.", "MX", f"10 {settings.relay.name or settings.domain}.")
        for domain in (settings.domain, settings.patient_domain)
    ]
    for service in MAIL_SERVICES:
        where = place(settings, service, ports)
        if not where.known:
            raise Failure(
                f"The port of {service} is chosen at each start: set it in caducee.toml, or start the server."
            )
        label, priority = _LABELS[service]
        found.append(Record(f"{label}.{settings.domain}.", "SRV", f"{priority} 1 {where.port} {where.host}."))
    # Where Thunderbird and its kin ask first; they come to port 443 of it.
    found.append(Record(f"autoconfig.{settings.domain}.", "CNAME", f"{place(settings, 'web', ports).host}."))
    return found


def remarks_on(settings: Settings, ports: Mapping[str, int]) -> list[str]:
    """What the records alone do not say."""
    services = ("relay", "web", *MAIL_SERVICES)
    hosts = sorted({place(settings, service, ports).host for service in services})
    found = [f"Each of these names needs its A or AAAA records: {', '.join(hosts)}"]
    relay, web = place(settings, "relay", ports), place(settings, "web", ports)
    if relay.port != SMTP:
        found.append(f"Other operators come to port 25: lead it to port {relay.port}, where the relay listens")
    if web.port != HTTPS:
        found.append(f"The pages listen on port {web.port}: lead 443 there, and mail programs can set themselves up")
    return found
