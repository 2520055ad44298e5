"""Every command and every example of the README, of the documentation and of the docstrings runs."""

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
from functools import partial
from itertools import takewhile

import pytest
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image
from support import ROOT

import advisor
import strategies
from advisor import cli
from advisor.evidence import commands as evidence
from advisor.likeness import LIKENESS
from advisor.preferences import PREFERENCES
from advisor.recommendation import plans_of
from advisor.results import read_results
from strategies.networks.backbones import BACKBONES
from strategies.plans.plan import read_plan
from strategies.recipes import RECIPES

DOCS = ROOT / "docs"
# In the order in which a reader would follow them: what one page writes, a later one may use.
ORDER = ("README.md", "docs/getting-started.md", "docs/guides/training.md", "docs/guides/exporting.md")
README_SIZE = 8_000  # characters


def _pages():
    """Returns the text of the README and of every page of the documentation, by path."""
    paths = [path for path in DOCS.rglob("*.md") if not {"_build", "generated"} & set(path.parts)]
    names = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *paths]}
    in_order = [*ORDER, *sorted(set(names) - set(ORDER))]
    return {name: names[name].read_text(encoding="utf-8") for name in in_order}


PAGES = _pages()
OTHERS = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "strategies/networks/bundled/README.md")
}
README = PAGES["README.md"]


def _blocks(language, text):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def _once(language):
    """Returns every distinct block of all pages, with the page that has it first."""
    found = {}
    for name, text in PAGES.items():
        for block in _blocks(language, text):
            found.setdefault(block, name)
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch, pretrained_weights):
    """A working folder with `photos/`, `new_photos/` and, of another class, `more_photos/` in it."""
    for name in ("china", "flower"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        photo = Image.fromarray(load_sample_image(f"{name}.jpg"))
        for index in range(40):
            left, top = 50 * (index % 10), 60 * (index // 10)
            photo.crop((left, top, left + 96, top + 96)).save(tmp_path / "photos" / name / f"{index:02}.png")
    shutil.copytree(tmp_path / "photos", tmp_path / "new_photos")
    (tmp_path / "more_photos" / "negative").mkdir(parents=True)
    for path in (tmp_path / "photos" / "flower").iterdir():
        ImageOps.invert(Image.open(path)).save(tmp_path / "more_photos" / "negative" / path.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(command, monkeypatch):
    command, _, file = command.partition(" > ")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", shlex.split(command))
        if file:
            patch.setattr(sys, "stdout", open(file, "w", encoding="utf-8"))  # noqa: SIM115
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert not stop.value.code, command


def _smaller(command):
    """Returns a command that runs a network with a smaller size of its images, and solves only a head if it may."""
    if command.startswith("advisor backbones "):
        command += " --try MobileNetV2-0.35 --sizes 64"
    if command.startswith("advisor extend "):
        command += " --head"
    if command.startswith("advisor train ") and "--minutes" in command and "--recipe" not in command:
        command += " --recipe head_only"
    measures = re.match(r"advisor (recommend|train|compare) ", command) and "--plan" not in command
    return f"{command} --image-size 64" if measures else command


def test_the_commands_run(folder, monkeypatch, capsys):
    """Each distinct command once, as a reader would type them; with few steps, and smaller images in the network."""
    monkeypatch.setattr("strategies.plans.planning.FEWEST_SEEN", 160)
    commands = dict.fromkeys(line for block in _once("console") for line in block.splitlines())
    assert len(commands) >= 17
    assert all(command.startswith("advisor ") for command in commands)
    # The slowest command by far: it trains two of the recipes here.
    assert sum(command.startswith("advisor compare") for command in commands) == 1
    compared = ("head_only", "fine_tune_all")
    monkeypatch.setattr(
        "advisor.comparison.plans_of", lambda advice: {name: plans_of(advice)[name] for name in compared}
    )
    for command in commands:
        _run(_smaller(command), monkeypatch)
    assert {"advice", "run", "edited", "head"} <= {path.name for path in folder.iterdir()}
    assert read_plan(folder / "head" / "plan.json").recipe == "head_only"
    assert len(read_results(folder / "results.csv")) == len(compared)
    assert len((folder / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 81
    assert "# Export" in (folder / "run" / "report.md").read_text(encoding="utf-8")


def _long_commands():
    """The commands of all pages that take hours or other people's data: `python` something, or the study."""
    for name, text in {**PAGES, **OTHERS}.items():
        for block in _blocks("bash", text) + _blocks("console", OTHERS.get(name, "")):
            for line in block.replace("\\\n", " ").splitlines():
                assert line.startswith(("python ", "advisor-evidence ")), f"{line} of {name} is run by no test"
                yield line
        for inline in re.findall(r"`python (benchmarks/[^`]+)`", text):
            yield f"python {' '.join(inline.split())}"


@pytest.mark.parametrize("command", sorted(set(_long_commands())))
def test_a_long_command_is_understood(command, monkeypatch, tmp_path):
    """Its script is there, and its own parser takes the arguments; what follows is stopped before it begins."""
    program, *words = shlex.split(command)
    options = list(takewhile(lambda word: word.startswith("-"), words))
    words = words[len(options) :]
    understood = []

    def parse(parser, *arguments):
        understood.append(real(parser, *arguments))
        raise KeyboardInterrupt

    real = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", [program, *words] if program == "advisor-evidence" else words)
    monkeypatch.chdir(tmp_path)
    if program == "advisor-evidence":
        run = evidence.main
    elif "-m" in options:
        run = partial(runpy.run_module, words[0], run_name="__main__")
    else:
        run = partial(runpy.run_path, str(ROOT / words[0]), run_name="__main__")
    with pytest.raises(KeyboardInterrupt):
        run()
    assert understood


def test_the_networks_in_the_readme_are_those_that_work():
    """As many rows as there are, and families of KerasHub grouped by what their own table says of them."""
    rows = re.findall(r"^\| (\w+) \| (\d|refused) \|(.*)\|$", PAGES["docs/guides/own-backbone.md"], re.MULTILINE)
    assert len(rows) > 10
    found = {"all": [], "all but ONNX": [], "not supported": []}
    for family, stages, rest in rows:
        *works, onnx = (cell.strip() for cell in rest.split("|")[-3:])
        if stages == "refused":
            found["not supported"].append(family)
        else:
            assert works == ["yes", "yes"]
            found["all" if onnx == "yes" else "all but ONNX"].append(family)
    for what, families in found.items():
        assert f"| KerasHub: {', '.join(families)} | {what} |" in README
    rows = [name for name, row in BACKBONES.items() if not row.is_own]
    lite = sum("Lite" in name for name in rows)
    assert f"| {len(rows) - lite} of Keras Applications, EfficientNet-Lite0 to {lite - 1}, " in README


def test_the_python_examples_run(folder, monkeypatch):
    """Each distinct block once, in the order of the pages; with few steps."""
    monkeypatch.setattr("strategies.plans.planning.FEWEST_SEEN", 160)
    blocks = _once("python")
    assert len(blocks) >= 4
    for block, name in blocks.items():
        exec(compile(block, name, "exec"), {})
    assert (folder / "python_run" / "model.keras").is_file()
    assert (folder / "epochs.csv").is_file()


def test_the_two_commands_install_and_run_what_they_say():
    """They are one line each; CI runs the second, from this file."""
    for mark, ends in (("demo", "advisor demo"), ("test", "pytest")):
        (command,) = re.findall(rf"<!-- {mark}-command -->\n```sh\n(.*?)\n```", README, re.DOTALL)
        assert command.endswith(ends)
        assert "\n" not in command
    assert len(_blocks("sh", README)) == 2


def test_the_demo_trains_on_digits(monkeypatch, capsys, tmp_path, pretrained_weights):
    """It ends with a report and says what to type next."""
    module = importlib.import_module("advisor.cli.demo")  # the command of the same name hides it
    monkeypatch.setattr(module, "DEMO_BUDGET", 0.01)
    _run(f"advisor demo --out {tmp_path / 'demo'}", monkeypatch)
    shown = capsys.readouterr().out
    assert "Test accuracy" in shown
    assert "advisor recommend" in shown
    assert (tmp_path / "demo" / "report.md").is_file()


def test_the_readme_is_short():
    """One page to read; everything else is behind it."""
    assert len(README) <= README_SIZE


def test_the_readme_shows_what_recommend_prints(test_data, imagenet_weights, monkeypatch, capsys):
    """Word for word, apart from line breaks, and from time and memory, which depend on the machine."""
    (shown,) = re.findall(
        r"<!-- recommend-output -->\n```text\n(.*?)```\n<!-- /recommend-output -->", README, re.DOTALL
    )
    monkeypatch.chdir(test_data)
    _run("advisor recommend flowers5 --backbone MobileNetV2-0.35", monkeypatch)
    printed = capsys.readouterr().out
    costs = re.compile(r"[\d.]+ (s|min|h|GiB)\b")
    assert len(costs.findall(shown)) == 2 * len(RECIPES)
    assert costs.sub("#", shown).split() == costs.sub("#", printed).split()


def _anchors(text):
    """Returns the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*PAGES, *OTHERS])
def test_every_link_leads_to_a_file(name):
    """And to a heading of it, where the link names one."""
    text = re.sub(r"```.*?```", "", {**PAGES, **OTHERS}[name], flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), f"{name} links to {target}"
        if anchor:
            page = file.read_text(encoding="utf-8")
            for included in re.findall(r"```{include} (\S+)", page):
                if (file.parent / included).exists():
                    page += (file.parent / included).read_text(encoding="utf-8")
            assert anchor in _anchors(page), f"{name} links to {target}"


def test_every_page_is_in_the_table_of_contents():
    """A page that is not listed cannot be found."""
    listed = {name for block in _blocks("{toctree}", PAGES["docs/index.md"]) for name in block.split()}
    assert {name.removeprefix("docs/").removesuffix(".md") for name in PAGES} - {
        "README.md",
        "README",
        "index",
    } <= listed


@pytest.mark.parametrize(
    "term", ["effective images", "ruler", "race", "expected accuracy", "textbook", "depths", "preference", "likeness"]
)
def test_the_glossary_explains_the_words_of_the_advice(term):
    """The words that only this project uses."""
    assert re.search(rf"^- \*\*{term}\.|\*{term}\*", PAGES["docs/reference/glossary.md"], re.MULTILINE | re.IGNORECASE)


def test_the_environment_variables_are_listed():
    """Every variable of our own that the code reads is in the reference."""
    code = "".join(
        path.read_text(encoding="utf-8") for name in ("advisor", "strategies") for path in (ROOT / name).rglob("*.py")
    )
    read = set(re.findall(r"os\.environ(?:\.\w+)?[\[(]\"(\w+)\"", code))
    assert {"ADVISOR_CACHE", "KERAS_HOME"} <= read
    assert read <= set(re.findall(r"`([A-Z_]+)", PAGES["docs/reference/environment.md"])) | {"TERM"}


def test_the_reference_names_every_command_and_every_public_name(monkeypatch):
    """It is written from the code when the site is built."""
    monkeypatch.syspath_prepend(DOCS)
    generated = importlib.import_module("generated")
    commands = generated.commands()
    for name in ("recommend", "train", "evaluate", "predict", "export", "script", "check", "demo"):
        assert f"## advisor {name}\n" in commands
    assert "`--group-by PATTERN`" in commands
    assert "[]" not in commands
    for section in commands.split("## advisor ")[1:]:
        name = section.split()[0]
        assert ("`--json`" not in section) or re.search(
            rf"^\|.*`{name}`.*\| `", PAGES["docs/reference/command-line.md"], re.M
        )
    for package in (advisor, strategies):
        text = generated.public_names(package.__name__)
        assert all(f"### {name}\n" in text for name in package.__all__ if name != "__version__")
    assert all(f"`{name}`" in generated.backbones() for name in BACKBONES)


def test_the_table_of_recipes_names_all_four():
    """And no other."""
    for text in (README, PAGES["docs/explanations/recipes.md"]):
        assert set(re.findall(r"^\| (?:small|large), .*? \| `(\w+)` \|", text, re.MULTILINE)) == set(RECIPES)
    assert "MobileNetV2-0.35" in BACKBONES


def _study_table(name):
    """Returns the rows of a table of the evidence, each a dictionary by the names of the columns."""
    text = PAGES["docs/explanations/evidence.md"].split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->")[0]
    lines = [[cell.strip(" *") for cell in line.strip("|").split(" | ")] for line in text.splitlines() if "| " in line]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_the_table_of_the_readme_is_that_of_the_evidence():
    """The regret of every policy."""
    shown = README.split("<!-- summary -->")[1].split("<!-- /summary -->")[0]
    assert shown.count("\n") > len(RECIPES)
    assert shown in PAGES["docs/explanations/evidence.md"]


def test_what_the_pages_say_in_words_holds_in_the_tables():
    """Which policies are good, which are not, and what the advice mostly says; the figures are in the tables alone."""
    regret = {row["policy"]: float(row["pooled"]) for row in _study_table("summary")}
    best = regret["always `retrain_all`"]
    assert abs(regret["the advice, `balanced`"] - best) < 0.5
    assert min(regret["always `head_only`"], regret["the textbook"]) > best + 1.5
    within = {row["policy"]: row["within tolerance"] for row in _study_table("policies")}
    assert float(within["always `retrain_all`"].strip("%")) > 50
    speed = next(row for row in _study_table("policies") if row["policy"] == "the advice, `speed`")
    assert 0 < float(speed["more than the advice"].split()[0]) < 1.5
    times = {row["policy"]: float(row["training time"].split()[0]) for row in _study_table("policies")[:3]}
    assert times["the advice, `speed`"] < 0.7 * times["the advice, `balanced`"]
    for network in ("EfficientNetLite0", "MobileNet-0.25", "MobileNetV2-0.35"):
        of_network = {row["policy"]: row[network] for row in _study_table("summary")}
        others = (of_network[f"always `{name}`"] for name in RECIPES if name != "retrain_all")
        assert float(of_network["always `retrain_all`"]) < min(map(float, others))
        advised = {row["recipe"]: row["advised, `balanced`"] for row in _study_table(f"places-{network}")}
        assert float(advised["`retrain_all`"].strip("%")) > 50
    for row in [*_study_table("methods-efficientnet_lite0_128px"), *_study_table("methods-mobilenet_0.25_96px")]:
        assert float(row["over Keras' loop"].split()[0]) > 0
        assert float(row["over the same, BatchNorm held"].split()[0]) > 0


def test_how_it_decides_shows_the_rows_that_decide():
    """The measures of likeness with their widths and reasons, and the preferences with their points."""
    text = PAGES["docs/explanations/how-it-decides.md"]
    for row in LIKENESS:
        unit = " of a power of ten" if row.log else ""
        assert f"| `{row.measure}` | {row.width:g}{unit} | {row.reason} |" in text
    for preference in PREFERENCES.values():
        assert f"| `{preference.name}` | {100 * preference.tolerance:g} |" in text


def test_what_can_be_changed_stands_in_the_plan():
    """Every name in the last column of the table of defaults is a key of `plan.json`."""
    plan = strategies.make_plan("retrain_all", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=80).to_dict()
    section = PAGES["docs/explanations/recipes.md"].split("## Defaults")[1].split("\n## ")[0]
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
def test_the_examples_in_docstrings_run(name, tmp_path, monkeypatch, few_images):
    """An example that no longer holds is a wrong promise."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    assert os.listdir(tmp_path) == []
