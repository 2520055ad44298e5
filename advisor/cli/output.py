"""What commands print beside their results: JSON to stdout, notes to stderr."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from typing import Any

JSON_VERSION = 1


def print_json(values: Mapping[str, Any]) -> None:
    """Prints a result to stdout, with the version of its format."""
    print(json.dumps({"version": JSON_VERSION, **values}, indent=2, ensure_ascii=False, allow_nan=False))


def typed_command() -> str:
    """Returns the command that is running, as one would type it."""
    return shlex.join(["advisor", *sys.argv[1:]])
