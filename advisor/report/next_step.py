"""The command, or the line of Python, that carries out a plan."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from advisor.advice import Advice
from strategies.plans.plan import Plan
from strategies.training.run_files import PLAN

# They tell what is printed, or measured for the advice alone.
_ADVICE_OPTIONS = ("--verbose", "--json", "--quiet", "--time", "--race", "--overwrite")
# They decide which images there are, and which of them belong to which split.
_DATA_OPTIONS = ("--group-by", "--column", "--root", "--encoding", "--follow-links", "--channels", "--max-unreadable")


def repeat_command(plan: Plan, source: str, command: str | None, working_folder: str | None) -> str:
    """Returns how to carry out the plan on the same images: a command if one was typed, else Python.

    The command names the plan where the typed command has written it, and a new folder beside it. A comparison writes
    no plan, so its settings are named instead. It can be copied into any folder, because it begins in the working
    folder of the typed command, from which its paths start.
    """
    typed = shlex.split(command or "")
    if typed[1:2] not in (["recommend"], ["train"], ["compare"]):
        return 'strategies.train(strategies.read_plan("plan.json"), images, "run/")'
    folder = _value_of("--out", typed)
    words = ["advisor", "train", source]
    if typed[1] == "compare" or folder is None:
        words += ["--recipe", plan.recipe, "--backbone", plan.backbone, "--weights", plan.weights]
        words += ["--image-size", str(plan.image_size), "--resize", plan.resize, "--seed", str(plan.seed)]
        words += ["--out", "run"]
    else:
        words += ["--plan", os.path.join(folder, PLAN), "--out", f"{folder.rstrip('/')}_again"]
    for place, word in enumerate(typed):
        if word.partition("=")[0] in _DATA_OPTIONS:
            has_value = "=" not in word and word != "--follow-links"
            words += typed[place : place + 1 + has_value]
    begin = "" if working_folder is None else f"{shlex.join(['cd', working_folder])} && "
    return begin + shlex.join(words)


def _value_of(option: str, words: Sequence[str]) -> str | None:
    """Returns the value of an option in the words of a command: `--out run` or `--out=run`."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.partition("=")[0] == option:
            return word.partition("=")[2] if "=" in word else following
    return None


NEXT_IN_PYTHON = 'advice.train("run/")'


def next_command(advice: Advice, command: str) -> str:
    """Returns what to type next: the command that trains the plan of an advice.

    It has the options that were typed, and the plan where one was written.

    Args:
        advice: The advice.
        command: The command that was typed.
    """
    typed = shlex.split(command)
    if _value_of("--out", typed) is not None:
        return repeat_command(advice.plan, advice.profile.source, command, None)
    words = [typed[0], "train", *(word for word in typed[2:] if word not in _ADVICE_OPTIONS), "--out", "run"]
    if advice.race is not None and advice.plan.recipe == advice.recipe:
        words += ["--recipe", advice.recipe]
    return shlex.join(words)
