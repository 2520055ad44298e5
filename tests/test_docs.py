"""Every command and every example of the README and of the docstrings runs."""

import argparse
import doctest
import importlib
import os
import pkgutil
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

import advisor
import strategies
from advisor import cli
from advisor.evidence.study import read_results
from advisor.evidence.tables import compare_methods
from strategies.backbones import BACKBONES
from strategies.plan import read_plan
from strategies.recipes import RECIPES

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch, pretrained_weights):
    """A working folder with `photos/` in it."""
    for name in ("china", "flower"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        photo = Image.fromarray(load_sample_image(f"{name}.jpg"))
        for index in range(40):
            left, top = 50 * (index % 10), 60 * (index // 10)
            photo.crop((left, top, left + 96, top + 96)).save(tmp_path / "photos" / name / f"{index:02}.png")
    shutil.copytree(tmp_path / "photos", tmp_path / "new_photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(command, monkeypatch):
    command, _, file = command.partition(" > ")
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    if file:
        monkeypatch.setattr(sys, "stdout", open(file, "w", encoding="utf-8"))  # noqa: SIM115
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code, command


def test_the_commands_run(folder, monkeypatch, capsys):
    """In the order in which a reader would type them; with few steps, for all four recipes are among them."""
    monkeypatch.setattr("strategies.planning.FEWEST_SEEN", 160)
    commands = [line for block in _blocks("console") for line in block.splitlines()]
    assert len(commands) == 17
    for command in commands:
        _run(command, monkeypatch)
    assert {"advice", "run", "edited", "head"} <= {path.name for path in folder.iterdir()}
    assert read_plan(folder / "head" / "plan.json").recipe == "head_only"
    assert len(read_results(folder / "results.csv")) == len(RECIPES)
    assert len((folder / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 81
    assert "# Export" in (folder / "run" / "report.md").read_text(encoding="utf-8")


PAGES = ("README.md", "advisor/evidence/README.md", "strategies/bundled/README.md")


def _long_commands():
    """The commands of all pages that take hours or other people's data: `python` something."""
    root = Path(__file__).parent.parent
    for page in PAGES:
        blocks = re.findall(r"```(?:console|bash)\n(.*?)```", (root / page).read_text(encoding="utf-8"), re.DOTALL)
        for block in blocks:
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("python "):
                    yield line
                else:
                    assert page == "README.md", f"{line} of {page} is run by no test"
    for inline in re.findall(r"`python (benchmarks/[^`]+)`", README):
        yield f"python {inline}"


@pytest.mark.parametrize("command", sorted(set(_long_commands())))
def test_a_long_command_is_understood(command, monkeypatch, tmp_path):
    """Its script is there, and its own parser takes the arguments; what follows is stopped before it begins."""
    root, words = Path(__file__).parent.parent, shlex.split(command)[1:]
    understood = []

    def parse(parser, *arguments):
        understood.append(real(parser, *arguments))
        raise KeyboardInterrupt

    real = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", words[1:] if words[0] == "-m" else words)
    monkeypatch.chdir(tmp_path)
    # A package is run by its `__main__`.
    if words[0] == "-m":
        run, what = runpy.run_module, {"advisor.evidence": "advisor.evidence.__main__"}.get(words[1], words[1])
    else:
        run, what = runpy.run_path, str(root / words[0])
    with pytest.raises(KeyboardInterrupt):
        run(what, run_name="__main__")
    assert understood


def test_the_python_examples_run(folder):
    """Each block on its own."""
    blocks = _blocks("python")
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert (folder / "python_run" / "model.keras").is_file()
    assert (folder / "epochs.csv").is_file()


def test_the_two_commands_install_and_run_what_they_say():
    """They are one line each; CI runs the second, from this file."""
    shell = _blocks("sh")
    assert len(shell) == 2
    assert shell[0].strip().endswith("advisor demo")
    assert shell[1].strip().endswith("pytest")


def test_the_demo_trains_on_digits(monkeypatch, capsys, tmp_path, pretrained_weights):
    """It ends with a report and says what to type next."""
    monkeypatch.setattr("advisor.demo.DEMO_BUDGET", 0.01)
    _run(f"advisor demo --out {tmp_path / 'demo'}", monkeypatch)
    shown = capsys.readouterr().out
    assert "Test accuracy" in shown
    assert "advisor recommend" in shown
    assert (tmp_path / "demo" / "report.md").is_file()


@pytest.mark.parametrize("name", ["", "recommend", "train", "compare", "predict", "export", "profile", "check", "demo"])
def test_help_is_given(name, monkeypatch, capsys):
    """Every command explains itself."""
    _run(f"advisor {name} --help", monkeypatch)
    assert "Usage" in capsys.readouterr().out


def test_the_layout_names_every_module():
    """The README's picture of the two packages is true."""
    listed = set(re.findall(r"^  ([a-z_]+(?:\.py|\.json|/))", README, re.MULTILINE))
    there = set()
    for package in (advisor, strategies):
        for path in Path(package.__file__).parent.iterdir():
            if not path.name.startswith(("_", ".")) and path.name != "schemas":
                there.add(f"{path.name}/" if path.is_dir() else path.name)
    assert listed == there


def test_the_table_of_recipes_names_all_four():
    """And no other."""
    assert set(re.findall(r"^\| (?:small|large), .*? \| `(\w+)` \|", README, re.MULTILINE)) == set(RECIPES)
    assert "MobileNetV2-0.35" in BACKBONES


def test_the_figures_of_the_evidence_are_those_of_its_results():
    """The README quotes what the table of recipes says."""
    results = Path(advisor.__file__).parent / "evidence" / "results" / "mobilenet_0.25_96px.csv"
    summary = compare_methods(read_results(results))["summary"]
    loops = [f"{100 * gain['mean']:.1f} points more" for gain in summary["gains"].values()]
    text = " ".join(README.split())
    assert f"average {loops[0]} test accuracy than Keras' published loop" in text
    assert f"{loops[1]} than that loop with BatchNorm held" in text
    assert f"{100 * summary['head_only_minus_logistic_regression']:.1f} points more than scikit-learn's" in text


def test_what_can_be_changed_stands_in_the_plan():
    """Every name in the last column of the table of defaults is a key of `plan.json`."""
    plan = strategies.make_plan("retrain_all", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=80).to_dict()
    section = README.split("### How they are carried out")[1].split("\n## ")[0]
    named = {
        name for row in re.findall(r"^\|.*\| (`.*`) \|$", section, re.MULTILINE) for name in re.findall("`(\\w+)`", row)
    }
    assert len(named) > 10
    assert named <= {*plan, *plan["phases"][0]}


def _modules() -> list[str]:
    found = [
        module.name
        for package in (strategies, advisor)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    return [name for name in found if not name.endswith("__main__")]


@pytest.mark.parametrize("name", _modules())
def test_the_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    """An example that no longer holds is a wrong promise."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    assert os.listdir(tmp_path) == []
