"""The output that commands share: JSON on stdout, and the command that was typed."""

from __future__ import annotations

import codecs
import json
import shlex
import sys
from collections.abc import Mapping
from typing import Any, TextIO

JSON_VERSION = 1


def print_json(values: Mapping[str, Any]) -> None:
    """Prints a result to stdout as JSON, with the version of its format."""
    ascii_only = not takes_unicode(sys.stdout)
    print(json.dumps({"version": JSON_VERSION, **values}, indent=2, ensure_ascii=ascii_only, allow_nan=False))


def takes_unicode(stream: TextIO) -> bool:
    """Returns whether a stream can take every character. Otherwise, JSON escapes all that are not ASCII."""
    return not stream.encoding or codecs.lookup(stream.encoding).name.startswith("utf")


def typed_command() -> str:
    """Returns the running command as it was typed, quoted for a shell."""
    return shlex.join(["advisor", *sys.argv[1:]])
