"""A headless Chromium, spoken to through a pipe; needs no package.

`chromium --screenshot` is of no use here: it waits until nothing is loading any more, and the page keeps a stream of
events open for as long as it lives.
"""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.image import imread

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    *("--headless", "--no-sandbox", "--no-first-run", "--hide-scrollbars", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-quic"),
    # WebGL without a graphics card.
    *("--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    # A page that needed the internet would fail here, too.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


def find_browser() -> str | None:
    """Returns the path of Chromium; None where there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """A browser with one page; a context manager.

    Args:
        profile: an empty folder.
        size: (width, height) pixels.
    """

    def __init__(self, profile: Path, size: tuple[int, int]) -> None:
        # Chromium reads commands from file 3 and answers in file 4; numbers above both keep clear of them.
        theirs, ours = [], []
        for end in (0, 1):
            pipe = os.pipe()
            theirs.append(fcntl.fcntl(pipe[end], fcntl.F_DUPFD, 10))
            os.close(pipe[end])
            ours.append(pipe[1 - end])
        self._to, self._from = ours
        command = f'exec "$0" "$@" 3<&{theirs[0]} 4>&{theirs[1]}'
        flags = [
            *_FLAGS,
            f"--window-size={size[0]},{size[1]}",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
        ]
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, find_browser(), *flags, "about:blank"],
            pass_fds=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in theirs:
            os.close(end)
        self._buffer, self._number, self._session = b"", 0, None

    def __enter__(self) -> Browser:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the browser."""
        self._process.terminate()
        self._process.wait(20)
        os.close(self._to)
        os.close(self._from)

    def open(self, url: str) -> None:
        """Opens a page instead of the one before."""
        target = self._call("Target.createTarget", url=url)["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]

    def screenshot(self) -> np.ndarray:
        """Returns `[height, width, 3]` uint8."""
        data = base64.b64decode(self._call("Page.captureScreenshot", self._session)["data"])
        return np.rint(imread(io.BytesIO(data), format="png")[..., :3] * 255).astype(np.uint8)

    def wait_for(self, shown: Callable[[np.ndarray], bool], seconds: float = 60.0) -> np.ndarray:
        """Takes pictures until one is right; returns the last one, right or not.

        Args:
            shown: whether a picture is.
            seconds: that are waited at most.
        """
        end = time.monotonic() + seconds
        while True:
            picture = self.screenshot()
            if shown(picture) or time.monotonic() > end:
                return picture
            time.sleep(0.5)

    def _call(self, method: str, session: str | None = None, **parameters: object) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60
        while True:
            while b"\0" in self._buffer:
                text, _, self._buffer = self._buffer.partition(b"\0")
                answer = json.loads(text)
                if answer.get("id") == self._number:
                    assert "result" in answer, answer
                    return answer["result"]
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the browser did not answer {method} in 60 s"
            data = os.read(self._from, 1 << 20)
            assert data, "the browser has ended"
            self._buffer += data
