"""`caducee dns` and autoconfiguration: what is published leads real clients to services that let them in."""

from __future__ import annotations

import imaplib
import json
import smtplib
import urllib.request
from collections.abc import Iterator
from xml.etree import ElementTree

import dns.resolver
import dns.zone
import pytest

from server.base.sections import Edge
from server.base.settings import Settings
from server.cli.common import Failure
from server.cli.dns import records, remarks_on
from server.web.application import host_names
from server.web.autoconfig import client_config
from tests.dns_server import dns_in_a_thread
from tests.serving import DOCTOR, DOMAIN, PATIENT_DOMAIN, Served, caducee


@pytest.fixture(scope="module")
def zone(running: Served) -> dns.zone.Zone:
    return dns.zone.from_text(
        caducee("dns", home=running.home), origin=f"{DOMAIN}.", relativize=False, check_origin=False
    )


@pytest.fixture(scope="module")
def resolver(zone: dns.zone.Zone) -> Iterator[dns.resolver.Resolver]:
    """A stub resolver that asks a server which has these records."""
    zones: dict[str, dict[str, list[str]]] = {}
    for name, data in zone.nodes.items():
        for found in data.rdatasets:
            kind = dns.rdatatype.to_text(found.rdtype)
            zones.setdefault(str(name).rstrip("."), {})[kind] = [one.to_text() for one in found]
    with dns_in_a_thread(zones) as server:
        asking = dns.resolver.Resolver(configure=False)
        asking.nameservers, asking.port = ["127.0.0.1"], server.port
        yield asking


def sign_in(served: Served, service: str, port: int) -> None:
    """With the password of the doctor, as the service's name says; the host is loopback in a test."""
    password, tls = served.passwords[DOCTOR], served.tls()
    if service in ("imaps", "imap"):
        imap = (
            imaplib.IMAP4_SSL("localhost", port, ssl_context=tls)
            if service == "imaps"
            else imaplib.IMAP4("localhost", port)
        )
        if service == "imap":
            imap.starttls(tls)
        imap.login(DOCTOR, password)
        imap.logout()
        return
    smtp = (
        smtplib.SMTP_SSL("localhost", port, context=tls)
        if service == "submissions"
        else smtplib.SMTP("localhost", port)
    )
    with smtp:
        if service == "submission":
            smtp.starttls(context=tls)
        smtp.login(DOCTOR, password)


@pytest.mark.parametrize("service", ["submissions", "submission", "imaps", "imap"])
def test_a_mail_program_finds_its_way_by_srv(running: Served, resolver: dns.resolver.Resolver, service: str) -> None:
    (found,) = resolver.resolve(f"_{service}._tcp.{DOMAIN}", "SRV")
    assert found.target.to_text() == f"{DOMAIN}."
    sign_in(running, service, found.port)


def test_tls_from_the_first_octet_is_preferred(resolver: dns.resolver.Resolver) -> None:
    for better, other in (("imaps", "imap"), ("submissions", "submission")):
        first, second = (resolver.resolve(f"_{name}._tcp.{DOMAIN}", "SRV")[0].priority for name in (better, other))
        assert first < second


@pytest.mark.parametrize("domain", [DOMAIN, PATIENT_DOMAIN])
def test_operators_find_the_relay_by_mx(resolver: dns.resolver.Resolver, domain: str) -> None:
    (found,) = resolver.resolve(domain, "MX")
    assert found.exchange.to_text() == f"{DOMAIN}."


def test_json_says_the_same_with_the_remarks(running: Served, zone: dns.zone.Zone) -> None:
    answer = json.loads(caducee("dns", "--json", home=running.home))
    assert len(answer["records"]) == sum(len(one) for _, one in zone.iterate_rdatasets())
    assert any(f"port {running.ports['relay']}" in remark for remark in answer["remarks"])


def test_autoconfiguration_leads_to_services_that_let_in(running: Served) -> None:
    places = []
    for path in ("/.well-known/autoconfig/mail/config-v1.1.xml", "/mail/config-v1.1.xml?emailaddress=x%40y.fr"):
        address = f"https://localhost:{running.ports['web']}{path}"
        with urllib.request.urlopen(address, context=running.tls()) as answer:
            assert answer.headers["Content-Type"] == "text/xml; charset=utf-8"
            places.append(answer.read())
    assert places[0] == places[1]
    provider = ElementTree.fromstring(places[0]).find("emailProvider")
    assert provider is not None
    assert (provider.get("id"), provider.findtext("domain")) == (DOMAIN, DOMAIN)
    servers = [*provider.findall("outgoingServer"), *provider.findall("incomingServer")]
    assert [(one.get("type"), one.findtext("socketType")) for one in servers] == [
        ("smtp", "SSL"),
        ("smtp", "STARTTLS"),
        ("imap", "SSL"),
        ("imap", "STARTTLS"),
    ]
    for service, server in zip(("submissions", "submission", "imaps", "imap"), servers, strict=True):
        assert server.findtext("username") == "%EMAILADDRESS%"
        sign_in(running, service, int(server.findtext("port") or 0))


def test_names_are_settings(running: Served) -> None:
    sections = {
        "relay": {"name": "mx.exemple.fr", "port": 25},
        "submission": {"name": "smtp.exemple.fr", "port": 587, "tls_port": 465},
        "imap": {"name": "imap.exemple.fr", "port": 143, "tls_port": 993},
        "web": {"name": "pages.exemple.fr", "port": 443},
    }
    settings = Settings.model_validate({"home": running.home, "domain": DOMAIN, **sections})
    data = {(record.name.partition(".")[0], record.data) for record in records(settings, {})}
    assert {
        ("msg", "10 mx.exemple.fr."),
        ("_submissions", "0 1 465 smtp.exemple.fr."),
        ("_imap", "10 1 143 imap.exemple.fr."),
        ("autoconfig", "pages.exemple.fr."),
    } <= data
    (remark,) = remarks_on(settings, {})
    assert remark.endswith(": imap.exemple.fr, mx.exemple.fr, pages.exemple.fr, smtp.exemple.fr")
    assert b"<hostname>imap.exemple.fr</hostname>" in client_config(settings, {})
    assert {"pages.exemple.fr", f"autoconfig.{DOMAIN}"} <= host_names(settings)


def test_a_port_that_nobody_knows_is_told(running: Served) -> None:
    settings = Settings(home=running.home, domain=DOMAIN)
    with pytest.raises(Failure, match="submission_tls is chosen at each start"):
        records(settings, {})
    assert b"Server" not in client_config(settings, {})


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="a host name in lower case"):
        Edge(name="Mail_1.")
