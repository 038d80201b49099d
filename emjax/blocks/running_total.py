"""Adds up the tables of blocks as they come, in the memory of their sum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, Self, TypeVar

# Rows that may wait beside a small sum.
_WAITING = 100_000


class Table(Protocol):
    """Rows of numbers that add up."""

    def __len__(self) -> int: ...

    @classmethod
    def total(cls, parts: Iterable[Self]) -> Self:
        """Adds up tables; none at all is the empty one."""
        ...


T = TypeVar("T", bound=Table)


class RunningTotal(Generic[T]):
    """Neither are many tables kept, nor is the whole added to for every block."""

    def __init__(self, kind: type[T]) -> None:
        """Begins with nothing.

        Args:
            kind: of table.
        """
        self._kind = kind
        self._tables: list[T] = [kind.total([])]
        self._rows = 0

    def add(self, table: T) -> None:
        """Adds the table of another part."""
        self._tables.append(table)
        self._rows += len(table)
        # Waits until as many rows are there as in the sum: each row is then sorted a few times, not once for every
        # block.
        if self._rows > len(self._tables[0]) + _WAITING:
            self._tables, self._rows = [self._kind.total(self._tables)], 0

    def total(self) -> T:
        """Returns the sum of all."""
        self._tables, self._rows = [self._kind.total(self._tables)], 0
        return self._tables[0]
