"""A budget of memory that threads share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock


class MemoryBudget:
    """Lets threads work at the same time as long as the memory that they need together fits into a budget.

    Requests are served in their order, so a large one is not overtaken forever. One that exceeds the whole budget is
    served alone.

    Args:
        total: The budget in bytes.

    Example:
        >>> from strategies.data.memory import MemoryBudget
        >>> budget = MemoryBudget(100)
        >>> with budget.reserve(30):
        ...     budget.free
        70
    """

    def __init__(self, total: int) -> None:
        self.total, self.free = total, total
        self._turn, self._changed = Lock(), Condition()

    @contextmanager
    def reserve(self, num_bytes: int) -> Iterator[None]:
        """Waits until there is room for `num_bytes`, and takes it for the duration of the block."""
        taken = min(num_bytes, self.total)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self.free >= taken)
            self.free -= taken
        try:
            yield
        finally:
            with self._changed:
                self.free += taken
                self._changed.notify()
