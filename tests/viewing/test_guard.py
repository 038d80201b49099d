"""Requests of strangers, large ones and many, against the page's server."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from neuroglancer.server import Server

from emjax.viewing import guard


class _Viewer:
    """Stands for the page."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server("127.0.0.1", 0)
    viewer = _Viewer()
    server.viewers["secret"] = viewer
    guard.guard(server, ("secret",))
    yield server
    server.stop()


def answer(server: Server, path: str, size: int, sent: int) -> bytes:
    """Sends a request of which `sent` bytes of the body are zeros, and returns the first line of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
        connection.sendall(head.encode() + bytes(sent))
        return connection.recv(200).split(b"\r\n")[0]


def test_without_the_token_nothing_is_kept_of_a_body(server: Server, monkeypatch) -> None:
    kept = []
    monkeypatch.setattr(
        "tornado.web._HandlerDelegate.data_received", lambda self, chunk: kept.append(len(chunk))
    )
    for path in ("/state/nobody", "/state/secrets", "/v/nobody/secre", "/?token=secret"):
        assert answer(server, path, 1 << 20, 1 << 20) == b"HTTP/1.1 404 Not Found", path
    assert kept == []
    answer(server, "/state/secret", 1 << 10, 1 << 10)
    assert sum(kept) == 1 << 10


def test_a_body_that_is_too_large_is_refused(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(guard, "MAX_BODY_BYTES", 1 << 16)
    assert answer(server, "/state/secret", 1 << 18, 1 << 18).startswith(b"HTTP/1.1 413")


def test_connections_are_limited(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(guard, "MAX_CONNECTIONS", 2)
    first = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
    for connection in first:
        connection.sendall(b"GET /v/nobody/ HTTP/1.1\r\nHost: x\r\n")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as third:
        try:
            assert third.recv(10) == b""
        except ConnectionResetError:
            pass
    for connection in first:
        connection.close()
    # The server sees a moment later that they are gone.
    for _ in range(100):
        try:
            if answer(server, "/state/nobody", 0, 0) == b"HTTP/1.1 404 Not Found":
                break
        except ConnectionResetError:
            pass
        time.sleep(0.02)
    else:
        pytest.fail("connections that are closed still count")
