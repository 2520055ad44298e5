"""The output that commands share: JSON on stdout, and the command that was typed."""

from __future__ import annotations

import codecs
import errno
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from strategies.errors import OutputError, in_a_sentence, redacted

JSON_VERSION = 1
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def complete_output() -> Iterator[None]:
    """Writes the output of a command to the end, which a full disk can prevent.

    Raises:
        OutputError: If stdout cannot be written to.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        # The interpreter flushes stdout once more when it ends, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(
            f"Expected to write the output to the end. Received: {in_a_sentence(error)}. Free some space, or write to "
            f"another disk."
        ) from error


def print_json(values: Mapping[str, Any]) -> None:
    """Prints a result to stdout as JSON, with the version of its format."""
    ascii_only = not takes_unicode(sys.stdout)
    print(json.dumps({"version": JSON_VERSION, **values}, indent=2, ensure_ascii=ascii_only, allow_nan=False))


def takes_unicode(stream: TextIO) -> bool:
    """Returns whether a stream can take every character. Otherwise, JSON escapes all that are not ASCII."""
    return not stream.encoding or codecs.lookup(stream.encoding).name.startswith("utf")


def typed_command() -> str:
    """Returns the running command as it was typed, quoted for a shell. Secrets in URLs are hidden."""
    return shlex.join(["advisor", *map(redacted, sys.argv[1:])])
