"""Remembers the fingerprints of a run's inputs, so that a resumed run refuses inputs that were changed since."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping

from etils import epath

from emjax.blocks.complete import refuse_incomplete
from emjax.blocks.fingerprint import Fingerprint, differences, fingerprint
from emjax.errors import InputError
from emjax.runs.folder import write_json

# In the folder of a run. A user who knows that an input is the same although its files changed may delete this file.
INPUTS_FILE = "inputs.json"
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The volumes that a run reads.

    Attributes:
        prints: configuration field -> fingerprint of the volume that it names.
        incomplete: whether one of the volumes is incomplete (which `allow_incomplete` allowed).
    """

    prints: Mapping[str, Fingerprint]
    incomplete: bool = False

    @classmethod
    def of(cls, addresses: Mapping[str, str], allow_incomplete: bool) -> Inputs:
        """Takes the fingerprints of the volumes that configuration fields name.

        Args:
            addresses: configuration field -> address that it holds; '' is left out.
            allow_incomplete: whether incomplete volumes are allowed.

        Raises:
            InputError: if a volume is incomplete and that is not allowed.
        """
        named = {name: address for name, address in addresses.items() if address}
        incomplete = [refuse_incomplete(a, name, allow_incomplete) for name, a in named.items()]
        return cls({name: fingerprint(a) for name, a in named.items()}, any(incomplete))

    def with_print(self, name: str, print_: Fingerprint) -> Inputs:
        """Returns these inputs and the one that another field names.

        Args:
            name: name of the field.
            print_: fingerprint of what the field names: its text, then dicts that each have a `path`.
        """
        return dataclasses.replace(self, prints={**self.prints, name: print_})

    def changed(self, workdir: str | os.PathLike[str]) -> dict[str, list[str]]:
        """Returns field -> differences from the inputs that the run in a folder began with; empty if none began."""
        stored = _read(epath.Path(workdir) / INPUTS_FILE)
        found = {
            name: differences(stored[name], now)
            for name, now in self.prints.items()
            # Another address is another configuration, which is reported elsewhere.
            if stored.get(name, [])[:1] == now[:1]
        }
        return {name: said for name, said in found.items() if said}

    def check_same(self, workdir: str | os.PathLike[str], overwrite: bool) -> bool:
        """Checks that a run that was begun before read the same inputs.

        Args:
            workdir: run folder; it is not changed.
            overwrite: whether an output that was made of other inputs is to be replaced.

        Returns:
            Whether the inputs changed, so that the output must be made anew.

        Raises:
            InputError: if the inputs changed and `overwrite` is not set; says what changed.
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
        """Stores the fingerprints in a run folder; call it only when no block of an earlier input counts as done."""
        write_json(epath.Path(workdir) / INPUTS_FILE, dict(self.prints))


def _read(path: epath.Path) -> dict[str, Fingerprint]:
    """Returns the stored fingerprints; empty if the file is damaged or missing, as for runs of earlier versions."""
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {name: value for name, value in stored.items() if isinstance(value, list)}
