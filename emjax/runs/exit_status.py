"""What the command tells the shell that started it; every other status is a bug of emjax."""

from __future__ import annotations

DONE = 0
# One line on stderr says what was given, what is needed and what to do.
INPUT_ERROR = 2
# Interrupted after saving, or no room on the disk: the same command goes on (EX_TEMPFAIL of sysexits.h).
PREEMPTED = 75
