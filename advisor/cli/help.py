"""How the help of the commands looks: values in capitals, no types of Python, and every flag under one name."""

from __future__ import annotations

import inspect
import re
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

# Titles of the groups of options in the help; all others are in the group that Typer calls Options.
IMAGES, NETWORK, COMPUTATION, OUTPUT = "Images", "Network", "Computation", "Output"


class _PlainHelp:
    """Changes what Typer shows, never what it accepts. The help is the last thing that a process prints."""

    help: Any

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Returns the words of the usage: `DATA` instead of `{DATA}`."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece.replace("{", "").replace("}", "") for piece in pieces]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the help without `<str>` and `<bool>`; of `--cache/--no-cache`, it lists what changes something."""
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            if isinstance(parameter, TyperArgument):
                parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign] # the name says it all
            elif isinstance(parameter, TyperOption) and parameter.is_flag:
                parameter.metavar, parameter.show_default = "", False
                if parameter.secondary_opts:
                    parameter.opts = parameter.secondary_opts if parameter.default else parameter.opts
                    parameter.secondary_opts = []
        self.help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(self.help or ""))  # lines are Rich's to break
        super().format_help(ctx, formatter)  # type: ignore[misc]


class Command(_PlainHelp, TyperCommand):
    """A command with a help like this."""


class Group(_PlainHelp, TyperGroup):
    """All commands, with a help like this."""
