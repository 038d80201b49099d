"""A server of a volume that can be made to fail."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path


class Server(http.server.ThreadingHTTPServer):
    """Hands out the files of a folder, or answers 503 to everything; a context manager.

    Attributes:
        broken: whether it does the latter.
        refused: how often it did.
    """

    # Closing would wait for connections that clients keep open.
    block_on_close = False

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.broken, self.refused = folder, False, 0

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        """Address of the folder."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:  # noqa: N802
        """Answers with a whole file."""
        path = self.server.folder / self.path.lstrip("/").partition("?")[0]
        self.server.refused += self.server.broken
        found = not self.server.broken and path.is_file()
        data = path.read_bytes() if found else b""
        self.send_response(503 if self.server.broken else 200 if found else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
