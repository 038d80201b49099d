"""What a run reads, as it was when the run began: its output is of that, and of nothing that took its place since."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping

from etils import epath
from ml_collections import ConfigDict

from emjax.blocks.complete import refuse_incomplete
from emjax.blocks.fingerprint import Fingerprint, differences, fingerprint
from emjax.errors import InputError
from emjax.runs.folder import write_json

# In the folder of a run. Whoever knows that an input is the same though its files are not may delete it.
INPUTS_FILE = "inputs.json"
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a run reads.

    Attributes:
        prints: field of the configuration -> fingerprint of what it names.
        incomplete: whether a volume is not complete, and allowed nevertheless.
    """

    prints: Mapping[str, Fingerprint]
    incomplete: bool = False

    @classmethod
    def of(cls, config: ConfigDict, *fields: str) -> Inputs:
        """Looks at the volumes that fields name.

        Args:
            config: as made from `volume_config`.
            *fields: names of fields that hold an address, or are empty.

        Raises:
            InputError: if a volume is not complete, unless `config.allow_incomplete`.
        """
        named = {name: config[name] for name in fields if config[name]}
        incomplete = [
            refuse_incomplete(a, name, config.allow_incomplete) for name, a in named.items()
        ]
        return cls({name: fingerprint(a) for name, a in named.items()}, any(incomplete))

    def with_print(self, name: str, print_: Fingerprint) -> Inputs:
        """Returns the same with what another field names.

        Args:
            name: of the field.
            print_: its text, then what is known of what it names, each with a `path`.
        """
        return dataclasses.replace(self, prints={**self.prints, name: print_})

    def changed(self, workdir: str | os.PathLike[str]) -> dict[str, list[str]]:
        """Returns field -> what is different from what the run in a folder began with; nothing where none did."""
        stored = _read(epath.Path(workdir) / INPUTS_FILE)
        found = {
            name: differences(stored[name], now)
            for name, now in self.prints.items()
            # Another address is another configuration, which is told as such.
            if stored.get(name, [])[:1] == now[:1]
        }
        return {name: said for name, said in found.items() if said}

    def check_same(self, workdir: str | os.PathLike[str], overwrite: bool) -> bool:
        """Checks that a run that was begun before read the same.

        Args:
            workdir: run folder; nothing is changed there.
            overwrite: whether an output of something else is to be replaced.

        Returns:
            Whether it read something else: what it made must be made anew.

        Raises:
            InputError: if it read something else; says what was changed.
        """
        changed = self.changed(workdir)
        if changed and not overwrite:
            name, said = next(iter(changed.items()))
            more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
            raise InputError(
                f"{name}={self.prints[name][0]} was changed since the run in {workdir} began "
                f"({'; '.join(said[:_SHOWN])}{more}): its output is of what was there before; give "
                "--config.overwrite=true to make it anew, or another --workdir and output"
            )
        return bool(changed)

    def remember(self, workdir: str | os.PathLike[str]) -> None:
        """Writes down what the run in a folder reads; only once nothing of an earlier input counts as done."""
        write_json(epath.Path(workdir) / INPUTS_FILE, dict(self.prints))


def _read(path: epath.Path) -> dict[str, Fingerprint]:
    """Returns what was written down; nothing where a run of an earlier version did not, or it is damaged."""
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {name: value for name, value in stored.items() if isinstance(value, list)}
