"""The health socket: its answers, and what it makes of hostile or broken askers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.base import health
from server.base.health import Health, ask, bind, serve


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[Health]:
    state = Health(serving=True)
    server = await serve(state, bind(tmp_path, "role-0.sock"))
    yield state
    server.close()
    await server.wait_closed()


async def test_ready_only_when_serving_and_every_check_passes(state: Health, tmp_path: Path) -> None:
    async def passes() -> int:
        return 1

    async def fails() -> int:
        raise ConnectionResetError

    state.checks = {"database": passes}
    assert (await ask(tmp_path, "role-0.sock", "/ready"))[0] == 200
    state.checks["other"] = fails
    status, body = await ask(tmp_path, "role-0.sock", "/ready")
    assert (status, json.loads(body)["failing"]) == (503, ["other"])
    state.serving = False
    assert json.loads((await ask(tmp_path, "role-0.sock", "/ready"))[1])["failing"] == ["serving", "other"]
    assert (await ask(tmp_path, "role-0.sock", "/health"))[0] == 200


async def test_an_answer_that_comes_in_pieces_is_read_whole(tmp_path: Path) -> None:
    state = Health(serving=True, notes={"long": "x" * 600_000})
    server = await serve(state, bind(tmp_path, "role-0.sock"))
    status, body = await ask(tmp_path, "role-0.sock", "/health")
    server.close()
    assert (status, json.loads(body)["notes"]) == (200, state.notes)


async def test_a_check_that_hangs_has_failed(state: Health, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.01)
    state.checks = {"database": asyncio.Event().wait}
    assert await state.failing() == ["database"]


async def raw(folder: Path, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(folder / "role-0.sock"))
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK"),
        (b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.0 200 OK"),
        (b"GET /etc/passwd HTTP/1.0\r\n\r\n", b"HTTP/1.0 404 Not Found"),
        (b"GET \xff\xfe\r\n\r\n", b"HTTP/1.0 404 Not Found"),
        (b"GET\r\n\r\n", b"HTTP/1.0 405 Method Not Allowed"),
        (b"POST /health HTTP/1.0\r\n\r\n", b"HTTP/1.0 405 Method Not Allowed"),
        (b"GET /health HTTP/1.0\r\n", b""),
        (b"", b""),
        (b"x" * (health.REQUEST_BYTES * 3), b""),
        (b"\r\n\r\n", b"HTTP/1.0 405 Method Not Allowed"),
    ],
)
async def test_answers_what_it_knows_and_no_more(state: Health, tmp_path: Path, request_: bytes, status: bytes) -> None:
    try:
        answer = await raw(tmp_path, request_)
    except ConnectionError:  # it closed before it had read all: no answer either
        answer = b""
    assert answer.split(b"\r\n")[0] == status


async def test_takes_over_a_socket_that_a_killed_process_left_at_any_depth(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    bind(deep, "role-0.sock").close()
    server = await serve(Health(), bind(deep, "role-0.sock"))
    assert (await ask(deep, "role-0.sock", "/health"))[0] == 200
    server.close()
    with pytest.raises(OSError):
        await ask(deep, "absent.sock", "/health")
