"""Which hosts take mail for a domain, asked of a real DNS server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from server.base import clock
from server.sender.mx import LONGEST_SECONDS, Exchangers, NoHost
from tests.dns_server import TTL, DnsServer, dns_server

OWN = "un.example"
ZONES = {
    "two.example": {"MX": ["20 b.two.example.", "10 a.two.example."]},
    "a.two.example": {"A": ["127.0.0.1"], "AAAA": ["::1"]},
    "b.two.example": {"A": ["127.0.0.2"]},
    "plain.example": {"A": ["127.0.0.3"]},
    "null.example": {"MX": ["0 ."]},
    "own.example": {"MX": ["5 first.example.", f"10 {OWN}.", "20 last.example."]},
    "first.example": {"A": ["127.0.0.4"]},
    "last.example": {"A": ["127.0.0.5"]},
    "loop.example": {"MX": [f"10 {OWN}."]},
    "dangling.example": {"MX": ["10 nowhere.example."]},
    "many.example": {"MX": [f"10 h{n}.many.example." for n in range(40)]},
    **{f"h{n}.many.example": {"A": [f"127.0.1.{n}"]} for n in range(40)},
}


@pytest.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with dns_server(ZONES) as server:
        yield server


def exchangers(dns: DnsServer) -> Exchangers:
    return Exchangers([f"127.0.0.1:{dns.port}"], OWN)


async def test_hosts_by_preference_with_their_addresses(dns: DnsServer) -> None:
    found = await exchangers(dns).of("two.example")
    assert [(host.name, host.addresses) for host in found] == [
        ("a.two.example", ("127.0.0.1", "::1")),
        ("b.two.example", ("127.0.0.2",)),
    ]


async def test_without_mx_the_domain_is_its_own_host(dns: DnsServer) -> None:
    (host,) = await exchangers(dns).of("plain.example")
    assert (host.name, host.addresses) == ("plain.example", ("127.0.0.3",))


async def test_only_what_is_nearer_than_we_are_is_tried(dns: DnsServer) -> None:
    assert [host.name for host in await exchangers(dns).of("own.example")] == ["first.example"]


async def test_a_domain_of_many_hosts_is_cut(dns: DnsServer) -> None:
    assert len(await exchangers(dns).of("many.example")) == 10


@pytest.mark.parametrize(
    ("domain", "permanent"),
    [("null.example", True), ("absent.example", True), ("loop.example", True), ("dangling.example", False)],
)
async def test_a_no_of_dns_is_final_and_a_hole_in_it_is_not(dns: DnsServer, domain: str, permanent: bool) -> None:
    with pytest.raises(NoHost) as raised:
        await exchangers(dns).of(domain)
    assert raised.value.permanent is permanent


async def test_a_failing_server_is_no_answer(dns: DnsServer) -> None:
    dns.failing.add("two.example")
    with pytest.raises(NoHost) as raised:
        await exchangers(dns).of("two.example")
    assert not raised.value.permanent


async def test_answers_are_kept_as_long_as_they_say(dns: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    asked = exchangers(dns)
    before = await asked.of("two.example")
    dns.zones["two.example"] = {"MX": ["10 b.two.example."]}
    assert await asked.of("two.example") == before
    now += TTL + 1
    assert TTL < LONGEST_SECONDS
    assert [host.name for host in await asked.of("two.example")] == ["b.two.example"]


async def test_an_answer_too_long_for_a_datagram_is_asked_again_over_tcp(dns: DnsServer) -> None:
    dns.long.add("two.example")
    assert len(await exchangers(dns).of("two.example")) == 2
