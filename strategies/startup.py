"""Starts TensorFlow and Keras: quietly, and not in a process that was forked after they were used."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from strategies.errors import UserError, in_a_sentence


class _Threads:
    """What is known about the threads of these libraries. A forked process does not have them."""

    started = False
    lost = False

    @classmethod
    def fork(cls) -> None:
        cls.lost = cls.started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Threads.fork)


def use_threads() -> None:
    """Notes that a library with threads of its own is used in this process.

    Raises:
        UserError: If that was so before this process was forked from another one. It would wait for its threads.
    """
    if _Threads.lost:
        raise UserError(
            "Expected a process that was started on its own. Received: a process that was forked after TensorFlow or "
            "Keras had been used, in which they hang. Start it with multiprocessing.get_context('spawn')."
        )
    _Threads.started = True


@contextmanager
def starting() -> Iterator[None]:
    """Hides what a library prints while the block imports it and runs a first operation."""
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = level or "1"  # TensorFlow reads it once: its INFO lines never appear
    with ExitStack() as hidden:
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            hidden.enter_context(_to_nowhere(number, stream))
        try:
            yield
        finally:
            if level is None:
                del os.environ["TF_CPP_MIN_LOG_LEVEL"]


@contextmanager
def _to_nowhere(number: int, stream: Any) -> Iterator[None]:
    """Discards what is written to a file descriptor, also by code that is not Python."""
    kept = devnull = -1
    with suppress(OSError, ValueError, AttributeError):  # the process has no such stream
        stream.flush()
        kept = os.dup(number)
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, number)
    try:
        yield
    finally:
        if devnull >= 0:
            os.dup2(kept, number)
            os.close(kept)
            os.close(devnull)


def start_tensorflow(purpose: str) -> Any:
    """Returns the module of TensorFlow, which is imported if it has not been imported yet.

    Args:
        purpose: What it is needed for, for the message.

    Raises:
        UserError: If it is not installed, or as `use_threads`.
    """
    use_threads()
    with starting():
        try:
            import tensorflow
        except ImportError as error:
            raise UserError(
                f"Expected TensorFlow, {purpose}. Received: an environment without it ({in_a_sentence(error)}). Run: "
                f"pip install tensorflow."
            ) from error

        tensorflow.zeros(1)  # the first operation searches for devices, which prints messages too
    return tensorflow
