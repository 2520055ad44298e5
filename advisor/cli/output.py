"""The output that commands share: JSON on stdout, and the command that was typed."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from strategies.errors import redacted

JSON_VERSION = 1


def print_json(values: Mapping[str, Any]) -> None:
    """Prints a result to stdout as JSON, with the version of its format."""
    print(json.dumps({"version": JSON_VERSION, **values}, indent=2, ensure_ascii=False, allow_nan=False))


def typed_command() -> str:
    """Returns the running command as it was typed, quoted for a shell. Secrets in URLs are hidden."""
    return shlex.join(["advisor", *map(redacted, sys.argv[1:])])
