"""Adds up the tables of blocks as they arrive, in about the memory of their sum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, Self, TypeVar

# Number of rows that may wait even when the sum is small.
_WAITING = 100_000


class Table(Protocol):
    """A table whose rows of numbers can be added up."""

    def __len__(self) -> int: ...

    @classmethod
    def total(cls, parts: Iterable[Self]) -> Self:
        """Returns the sum of tables; an empty table for no tables."""
        ...


T = TypeVar("T", bound=Table)


class RunningTotal(Generic[T]):
    """A sum of tables that neither keeps many tables nor rebuilds the whole sum for every block."""

    def __init__(self, kind: type[T]) -> None:
        """Begins with nothing.

        Args:
            kind: type of the tables.
        """
        self._kind = kind
        self._tables: list[T] = [kind.total([])]
        self._rows = 0

    def add(self, table: T) -> None:
        """Adds another table."""
        self._tables.append(table)
        self._rows += len(table)
        # Sum up only when as many rows wait as the sum has: each row is then sorted a few times, not for every block.
        if self._rows > len(self._tables[0]) + _WAITING:
            self._tables, self._rows = [self._kind.total(self._tables)], 0

    def total(self) -> T:
        """Returns the sum of all tables added so far."""
        self._tables, self._rows = [self._kind.total(self._tables)], 0
        return self._tables[0]
