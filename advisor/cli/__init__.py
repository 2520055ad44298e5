"""The command line: a thin layer over the Python API. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import functools
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from advisor._version import __version__
from advisor.cli.advice import compare, recommend
from advisor.cli.cache import cache
from advisor.cli.catalog import backbones, recipes
from advisor.cli.demo import demo
from advisor.cli.doctor import doctor
from advisor.cli.help import Command, Group
from advisor.cli.images import check, learning_curve, profile
from advisor.cli.output import complete_output
from advisor.cli.runs import evaluate, export, predict, report, script
from advisor.cli.training import extend, train
from strategies.display.html import printable
from strategies.errors import UserError

COMMANDS = (
    recommend,
    train,
    extend,
    evaluate,
    report,
    compare,
    predict,
    export,
    script,
    profile,
    check,
    learning_curve,
    recipes,
    backbones,
    doctor,
    cache,
    demo,
)
NAME = "advisor"

app = typer.Typer(
    name=NAME,
    cls=Group,
    help="Measures your images, recommends a transfer-learning recipe for a network pretrained on ImageNet, and "
    "carries it out in Keras.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def _advisor(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """The options of `advisor` itself."""


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """Ends a command on Ctrl-C with a sentence; Typer would end it without a word."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            print(f"advisor: interrupted. {_how_to_continue(command, options)}", file=sys.stderr)
            raise typer.Exit(130) from None

    return run


def _how_to_continue(command: Callable[..., None], options: Mapping[str, Any]) -> str:
    from strategies.training.run_files import can_continue  # it needs NumPy, and the help and `doctor` must not

    if command in (train, extend) and can_continue(Path(options["out"])):
        kept = printable(str(options["out"]))
        return f"What was trained is kept in {kept}: add --resume to the same command to continue."
    if command is compare and options["out"] is not None and Path(options["out"]).is_file():
        return f"Recipes that were finished have their rows in {printable(options['out'])}: run the same command again."
    return "Nothing was finished: run the same command again."


for command in COMMANDS:
    app.command(cls=Command)(_interruptible(command))


def main() -> None:
    """Runs a command. Errors that the user can fix are printed to stderr without a traceback, with exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not if there is none, or another program reads the output
            stream.reconfigure(errors="backslashreplace")  # such as a terminal that cannot show all class names
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", module="PIL")  # about unusual metadata of images that are fine
    # Each training traces its own functions. TensorFlow takes several in one process for a mistake and warns.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        with complete_output():
            app(prog_name=NAME)  # also as python -m advisor: shells complete this name
    except UserError as error:
        print(f"advisor: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
