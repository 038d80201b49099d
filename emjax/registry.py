"""Tables of named parts, imported on first use: networks, targets, segmentation methods, formats and jobs.

Each part of emjax is a line of its table. A part of another package is an entry point of that package, in the
group that the table names:

    [project.entry-points."emjax.networks"]
    toy = "toy_network:NETWORK"

Nothing here imports the parts that it names, so a table of twenty networks costs only the one in use.
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
    """A table of parts; as a mapping, from names to the parts themselves.

    A name of emjax's own is never replaced by one of another package: the meaning of a configuration must not depend on
    which other packages are installed.
    """

    def __init__(self, what: str, group: str, table: Mapping[str, str]) -> None:
        """Makes the table without importing any part.

        Args:
            what: what a user calls such a part, for messages: 'target'.
            group: group of the entry points of other packages, such as 'emjax.targets'.
            table: name -> 'module:attribute', in the order of listing and preference.
        """
        self.group = group
        self._what = what
        self._own = dict(table)

    def find(self, name: str, where: str = "") -> Any:
        """Returns the part of a name, imported if necessary.

        Args:
            name: of the part.
            where: text before the message about an unknown name, such as 'model.name='.

        Raises:
            InputError: if the name is unknown (names the nearest), or a part of another package cannot be imported.
        """
        place = self._own.get(name) or self._outside().get(name)
        if place is None:
            # Without a field before it, the name needs a noun.
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
        """Names of emjax's own parts, in their order."""
        return tuple(self._own)

    def place(self, name: str) -> str:
        """Returns the 'module:attribute' of a known name."""
        return self._own.get(name) or self._outside()[name]

    def __getitem__(self, name: str) -> Any:
        """Returns a part; raises KeyError for an unknown name, as a mapping must."""
        if name not in self:
            raise KeyError(name)
        return self.find(name)

    def __contains__(self, name: object) -> bool:
        """Whether there is a part of that name; other packages are searched only for names that emjax does not have."""
        return name in self._own or name in self._outside()

    def __iter__(self) -> Iterator[str]:
        """Yields the names: emjax's own in their order, then those of other packages in alphabetical order."""
        yield from self._own
        yield from sorted(self._outside().keys() - self._own.keys())

    def __len__(self) -> int:
        """Returns the number of parts."""
        return sum(1 for _ in self)

    def _outside(self) -> Mapping[str, str]:
        return _entry_points(self.group, tuple(sys.path))


@functools.cache
def _entry_points(group: str, path: tuple[str, ...]) -> Mapping[str, str]:
    """Returns name -> 'module:attribute' of the parts that the packages on a search path offer.

    Args:
        group: group of the entry points.
        path: `sys.path`. Searching it takes 10 ms, and an address is opened for each block, so results are cached.
    """
    return {point.name: point.value for point in importlib.metadata.entry_points(group=group)}
