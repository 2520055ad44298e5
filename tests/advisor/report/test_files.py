"""Reports: names of classes and files are data, and every report can be written again from the files next to it."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import advisor
from advisor.report.evaluation import gain_text
from advisor.report.files import write_report
from advisor.report.markdown import escape
from strategies.display.html import printable
from strategies.errors import UserError
from strategies.plans.planning import with_budget


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b", "![x](y)", "`rm`", "*b*", "# h"])
def test_markup_in_a_name_is_inert_in_markdown(name):
    """Every character that Markdown or HTML would read is escaped."""
    escaped = escape(name)
    for place, character in enumerate(escaped):
        if character in "`*_{}[]<>|#":
            assert escaped[place - 1] == "\\"


def test_control_characters_cannot_steer_a_terminal():
    """Escape sequences and newlines are shown, not sent."""
    assert printable("a\x1b[31mb\nc") == "a\\x1b[31mb\\nc"


HOSTILE = "a|b<script>*x*\n# h"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder whose classes and source have hostile names, and its own report."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 40, 40, 3), dtype="uint8")
    advice = advisor.recommend(
        (images, [HOSTILE, "dog"] * 20),
        backbone="MobileNet-0.25",
        weights="random",
        image_size=32,
        recipe="retrain_all",
    )
    folder = tmp_path_factory.mktemp("reports") / "run"
    cost = {"seconds": 754.0, "seconds_per_epoch": 42.4, "memory": 2**30, "measured": True}
    costs = {**advice.plan.advice["costs"], "retrain_all": cost}
    plan = replace(with_budget(advice.plan, 0.02), advice={**advice.plan.advice, "costs": costs})
    advice.with_plan(plan).train(folder)
    return folder


def test_the_report_is_written_again_byte_for_byte_without_tensorflow(run):
    """From the files alone, in a process in which neither Keras nor TensorFlow can be imported."""
    reports = [run / "report.md", run / "report.html"]
    first = [path.read_bytes() for path in reports]
    for path in reports:
        path.unlink()
    model = (run / "model.keras").rename(run.parent / "elsewhere.keras")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'jax', 'torch']))\n"
        "from advisor.cli import main; main()"
    )
    subprocess.run([sys.executable, "-c", code, "report", str(run)], check=True, capture_output=True)
    model.rename(run / "model.keras")
    assert [path.read_bytes() for path in reports] == first


def test_the_report_of_a_run_has_every_section_and_hostile_names_are_inert(run):
    """What the brief reader looks for, each once; a name can neither break a table nor start a heading."""
    text = (run / "report.md").read_text(encoding="utf-8")
    for title in (
        "Compared with the baselines", "Metrics", "Results by class", "Most often confused",
        "Can the probabilities be trusted?", "Most confident mistakes", "Training progress", "Freeze map",
        "What was measured",
    ):  # fmt: skip
        assert text.count(f"\n## {title}\n") == 1, title
    assert "A new head alone reaches" in text
    assert escape(HOSTILE) in text
    assert "<script>" not in text
    for line in text.splitlines():
        assert not line.startswith("# h")
    header = "| class | images | recall | 95% interval | precision | F1 |"
    rows = text.split(header)[1].split("\n\n")[0].splitlines()[2:]
    assert len(rows) == 2
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in rows)


def test_the_report_of_an_advice_folder_is_written_again_too(run, tmp_path):
    """And so has a run that nobody advised; what is neither gets a sentence."""
    for name in ("plan.json", "fingerprint.json"):
        shutil.copy(run / name, tmp_path)
    write_report(tmp_path)
    assert (tmp_path / "report.md").read_text().startswith("# Which layers to freeze")
    (tmp_path / "fingerprint.json").unlink()
    with pytest.raises(UserError, match="with neither"):
        write_report(tmp_path)
    for name in ("metrics.json", "history.csv"):
        shutil.copy(run / name, tmp_path)
    write_report(tmp_path)
    assert "# The advice" not in (tmp_path / "report.md").read_text()
    (tmp_path / "history.csv").unlink()
    with pytest.raises(UserError, match="training history"):
        write_report(tmp_path)


def test_the_gain_over_the_head_is_one_sentence():
    """With its error and its cost; a recipe that was faster says less."""
    head = {"accuracy": 0.8, "gain": 0.05, "standard_error": 0.012, "extra_seconds": 31.6}
    said = gain_text("fine_tune_all", 0.85, head)
    assert said == (
        "A new head alone reaches 80.0%, fine_tune_all 85.0%: +5.0 points (standard error 1.2) for 32 s more."
    )
    assert gain_text("fine_tune_all", 0.85, head | {"extra_seconds": -2}).endswith("for 2 s less.")
    assert "not measured" in gain_text("fine_tune_all", 0.85, None)
