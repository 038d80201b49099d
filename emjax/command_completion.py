"""Completion of the command in a shell: jobs, presets, fields.

    eval "$(emjax --completion)"        # in ~/.bashrc

Bash only, which is our choice: it is the shell of clusters, of cloud machines and of Colab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

SCRIPT = """\
_emjax() {
    local IFS=$'\\n'
    COMPREPLY=($(emjax --complete "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
}
complete -o nospace -o default -F _emjax emjax"""


def complete(
    line: str,
    jobs: Sequence[str],
    presets: Callable[[str], Sequence[str]],
    fields: Callable[[str], Sequence[str]],
) -> list[str]:
    """Returns what may stand in place of the last word of a line.

    Args:
        line: what is typed up to the cursor, with the command's name.
        jobs: names of jobs.
        presets: job -> its presets.
        fields: JOB or JOB:PRESET -> dotted names of its fields.

    Returns:
        Candidates without what comes before the last colon of the word, since Bash takes a colon for the end of a word.
    """
    words = line.split(" ")[1:]
    word, before = words[-1], [w for w in words[:-1] if w]
    if not before and ":" in word:
        job, _, start = word.partition(":")
        return [p for p in presets(job) if p.startswith(start)] if job in jobs else []
    if not before:
        return [f"{job} " for job in jobs if job.startswith(word)]
    if not word.startswith("--") or before[0].partition(":")[0] not in jobs:
        return []
    names = [f"--{field}=" for field in fields(before[0])]
    return [name for name in [*names, "--workdir=", "--help"] if name.startswith(word)]
