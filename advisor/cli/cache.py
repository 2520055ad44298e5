"""The command `cache`, which shows what is kept on disk between commands, and removes it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from advisor.cli.options import OutputOptions, with_options
from advisor.cli.output import print_json


@with_options
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything in it. Nothing else is touched.")] = False,
    *,
    output: OutputOptions,
) -> None:
    """Show the cache of features and converted networks, or clear it.

    What is removed is computed again when it is needed.
    """
    from advisor.report.terminal import KeyValues, show
    from strategies.features.cache import default_cache

    kept = default_cache()
    removed = kept.clear() if clear else 0
    found: dict[str, Any] = {
        "folder": str(kept.folder),
        "entries": kept.num_entries(),
        "bytes": kept.num_bytes(),
        "max_bytes": kept.max_bytes,
        "removed": removed,
    }
    if output.as_json:
        print_json({"cache": found})
        return
    rows = [
        ("folder", found["folder"]),
        ("entries", f"{found['entries']:,}"),
        ("size", f"{found['bytes'] / 1e6:,.1f} of {kept.max_bytes / 1e6:,.1f} MB"),
    ]
    show([KeyValues(rows=[*rows, *([("removed", f"{removed:,} entries")] if clear else [])])], quiet=output.quiet)
