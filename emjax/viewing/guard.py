"""Limits what strangers can make the server of the page do: the token is looked at before a request's body is kept."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from neuroglancer.server import Server
from tornado import httputil
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection

# The page sends its state and short answers; a state names the chosen objects, which may be a hundred thousand.
MAX_BODY_BYTES = 8 << 20
# A browser opens six, and tools that load from the page some more.
MAX_CONNECTIONS = 128
# Seconds that a connection may be silent; a browser opens another when it needs one.
_SILENT_S = 300


def guard(server: Server, tokens: Collection[str]) -> None:
    """Limits a server that has just been started.

    Args:
        server: serves nothing but requests whose address holds one of the tokens; others are answered with 404.
        tokens: secrets of the page.
    """
    http = server.http_server
    http.request_callback = _Guard(server.app, frozenset(tokens))
    http.conn_params.header_timeout = http.conn_params.body_timeout = _SILENT_S


class _Guard(httputil.HTTPServerConnectionDelegate):
    """Stands before an application, and hands on only what is allowed."""

    def __init__(self, app: httputil.HTTPServerConnectionDelegate, tokens: frozenset[str]) -> None:
        self._app, self._tokens = app, tokens
        self._open: set[HTTP1ServerConnection] = set()

    def start_request(
        self, server_conn: HTTP1ServerConnection, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        """Called for each request, before any of it is read."""
        # The server tells nobody of connections that are closed.
        self._open = {conn for conn in self._open if not conn.stream.closed()} | {server_conn}
        if len(self._open) > MAX_CONNECTIONS and isinstance(request_conn, HTTP1Connection):
            request_conn.close()
        inner = self._app.start_request(server_conn, request_conn)
        return _Request(inner, request_conn, self._tokens)


class _Request(httputil.HTTPMessageDelegate):
    """A request: its body reaches the application only with a token, and only up to the limit."""

    def __init__(self, inner: Any, connection: Any, tokens: frozenset[str]) -> None:
        self._inner: Any = inner
        self._connection, self._tokens = connection, tokens
        self._refused, self._size = 0, 0

    def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> Any:
        """Looks at the address."""
        path = start_line.path.partition("?")[0]
        if self._tokens.isdisjoint(re.split(r"[/.]", path)):
            self._refused = 404
            return None
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        """Hands on a piece of the body, or drops it."""
        self._size += len(chunk)
        if not self._refused and self._size > MAX_BODY_BYTES:
            self._refused = 413
            # Frees what it has kept.
            self._inner.on_connection_close()
            self._inner = None
        return None if self._refused else self._inner.data_received(chunk)

    def finish(self) -> None:
        """Answers."""
        if not self._refused:
            self._inner.finish()
            return
        reason = httputil.responses[self._refused]
        headers = httputil.HTTPHeaders({"Content-Length": "0", "Connection": "close"})
        line = httputil.ResponseStartLine("HTTP/1.1", self._refused, reason)
        self._connection.write_headers(line, headers)
        self._connection.finish()

    def on_connection_close(self) -> None:
        """The other side is gone."""
        if not self._refused:
            self._inner.on_connection_close()
