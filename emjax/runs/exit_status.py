"""Exit statuses of the command; every other status is a bug of emjax."""

from __future__ import annotations

DONE = 0
# The input was refused; one line on stderr says what was given, what is needed and what to do.
INPUT_ERROR = 2
# Interrupted after saving, or the disk is full or fails: the same command continues the run (EX_TEMPFAIL in
# sysexits.h).
PREEMPTED = 75
