"""The command `doctor`, which looks at the installation."""

from __future__ import annotations

import typer

from advisor.cli.options import OutputOptions, with_options
from advisor.cli.output import print_json


@with_options
def doctor(*, output: OutputOptions) -> None:
    """Show versions, devices, cache and weights, and what is missing.

    The exit code is 1 if something that is needed does not work. Nothing is downloaded.
    """
    from advisor.installation import examine_installation
    from advisor.report.installation import installation_parts
    from advisor.report.terminal import show

    found = examine_installation()
    if output.as_json:
        print_json({"doctor": found.to_dict()})
    else:
        show(installation_parts(found), quiet=output.quiet)
    if not found.is_ready:
        raise typer.Exit(1)
