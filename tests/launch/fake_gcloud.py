"""Stands in for gcloud: notes its arguments, answers from files, and runs remote commands in folders of this machine.

`$FAKE_CLOUD` holds `calls` (one JSON list a line), `states` (answers of `describe`, one a line, the last one stays) and
a home folder `worker<i>` for each machine, which exists before.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    cloud = Path(os.environ["FAKE_CLOUD"])
    with (cloud / "calls").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    flags = dict(word[2:].partition("=")[::2] for word in arguments if word.startswith("--"))
    if "describe" in arguments:
        return _describe(cloud / "states")
    workers = sorted(cloud.glob("worker*"))
    if flags.get("worker", "all") != "all":
        workers = [cloud / f"worker{flags['worker']}"]
    if "delete" in arguments:
        for home in workers:
            _wipe(home)
    if "scp" in arguments:
        source, target = arguments[arguments.index("scp") + 1 :][:2]
        for home in workers:
            shutil.copy(source, home / target.partition(":")[2])
    if "ssh" in arguments:
        # As gcloud does it: split at spaces, joined again by ssh, read by the shell of the machine.
        command = " ".join(flags["command"].split(" "))
        path = f"{cloud / 'bin'}:{os.environ['PATH']}"
        statuses = [
            subprocess.run(
                ["bash", "-c", command], env={"HOME": str(home), "PATH": path}
            ).returncode
            for home in workers
        ]
        return max(statuses)
    return 0


def _wipe(home: Path) -> None:
    """What ran there ends at once, and its disk is gone."""
    run = home / "emjax-run"
    if run.is_dir():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int((run / "pid").read_text()), signal.SIGKILL)
    for folder in (run, home / "emjax", home / "emjax-venv"):
        shutil.rmtree(folder, ignore_errors=True)


def _describe(states: Path) -> int:
    answer, *rest = states.read_text().splitlines()
    if rest:
        states.write_text("\n".join(rest) + "\n")
    if answer == "ABSENT":
        print("ERROR: (gcloud) NOT_FOUND: Resource was not found", file=sys.stderr)
        return 1
    print(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
