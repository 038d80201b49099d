"""Parts by name, imported when they are first asked for: networks, targets, segmentation methods, formats and jobs.

A part of emjax is a line of its table. A part from outside is an entry point of an installed package, in the group that
the table names:

    [project.entry-points."emjax.networks"]
    toy = "toy_network:NETWORK"

Nothing here imports what it names, so that a table of twenty networks costs what the one in use does.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from emjax.config import nearest
from emjax.errors import InputError


class Registry(Mapping[str, Any]):
    """A table of parts; as a mapping it goes from names to the parts themselves.

    A name of emjax's own is never replaced by one from outside: what a configuration means must not depend on which
    packages are installed beside.
    """

    def __init__(self, what: str, group: str, table: Mapping[str, str]) -> None:
        """Imports nothing.

        Args:
            what: what a user calls one of them, for messages: 'target'.
            group: of the entry points of other packages, such as 'emjax.targets'.
            table: name -> 'module:attribute', in the order in which they are listed and preferred.
        """
        self.group = group
        self._what = what
        self._own = dict(table)

    def find(self, name: str, where: str = "") -> Any:
        """Returns a part.

        Args:
            name: of the part.
            where: what stands before the message about an unknown name, such as 'model.name='.

        Raises:
            InputError: if there is none of that name, naming the nearest; if a part from outside cannot be imported.
        """
        place = self._own.get(name) or self._outside().get(name)
        if place is None:
            # Without a field before it the name needs a noun.
            given = f"{where}'{name}' is unknown" if where else f"unknown {self._what} '{name}'"
            raise InputError(f"{given}{nearest(name, self)}")
        module, _, attribute = place.partition(":")
        try:
            found = importlib.import_module(module)
            return getattr(found, attribute) if attribute else found
        except (ImportError, AttributeError) as error:
            if name in self._own:
                raise
            raise InputError(
                f"{self._what} '{name}' cannot be imported from {place} ({error}); mend or uninstall the package that "
                f"has it as an entry point of {self.group}"
            ) from error

    @property
    def own_names(self) -> tuple[str, ...]:
        """Emjax's own, in their order."""
        return tuple(self._own)

    def place(self, name: str) -> str:
        """Returns the 'module:attribute' of a part, of a name that is known."""
        return self._own.get(name) or self._outside()[name]

    def __getitem__(self, name: str) -> Any:
        """Returns a part; raises KeyError, as a mapping must."""
        if name not in self:
            raise KeyError(name)
        return self.find(name)

    def __contains__(self, name: object) -> bool:
        """Whether there is a part of that name; packages beside emjax are looked at for names it does not have."""
        return name in self._own or name in self._outside()

    def __iter__(self) -> Iterator[str]:
        """Yields the names: emjax's own in their order, then those from outside in alphabetical order."""
        yield from self._own
        yield from sorted(self._outside().keys() - self._own.keys())

    def __len__(self) -> int:
        """Returns how many there are."""
        return sum(1 for _ in self)

    def _outside(self) -> Mapping[str, str]:
        return _entry_points(self.group, tuple(sys.path))


@functools.cache
def _entry_points(group: str, path: tuple[str, ...]) -> Mapping[str, str]:
    """Returns name -> place of the parts that packages on a search path offer.

    Args:
        group: of the entry points.
        path: `sys.path`. Looking through it takes 10 ms, and an address is opened for each block.
    """
    return {point.name: point.value for point in importlib.metadata.entry_points(group=group)}
