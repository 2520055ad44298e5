"""Plans written as scripts: they run without this package, and do what the plan says."""

import ast
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import strategies
from strategies.backbones import BACKBONES
from strategies.errors import PlanError
from strategies.recipes import RECIPES

NAMES = tuple(BACKBONES)  # before other tests add models of their own
NETWORK = "MobileNet-0.25"  # with random weights: the cheapest to train
# Runs scripts one after the other where this package cannot be imported.
DRIVER = """
import runpy, sys
sys.modules["advisor"] = sys.modules["strategies"] = None
for name in sys.argv[2:]:
    print("#", name)
    photos, sys.argv = sys.argv[1], ["train.py", sys.argv[1], name + ".keras"]
    runpy.run_path(name + ".py")
    sys.argv[1] = photos
"""


def _plan(recipe, **changes):
    plan = strategies.make_plan(
        recipe, NETWORK, class_names=["china", "flower"], num_train=28, image_size=32, weights="random", budget=0.04
    )
    return replace(plan, **changes)


@pytest.fixture(scope="module")
def plans(pretrained_weights):
    """A short plan of each recipe; that of `fine_tune_all` was edited wherever a plan can be."""
    made = {recipe: _plan(recipe) for recipe in RECIPES}
    made["head_only"] = strategies.make_plan(
        "head_only", "MobileNetV2-0.35", class_names=["china", "flower"], num_train=28, image_size=32
    )
    edited = made["fine_tune_all"]
    head, whole = edited.phases
    rates = {stage: rate / 10 if stage == "stem" else rate for stage, rate in whole.learning_rate.items()}
    made["fine_tune_all"] = replace(
        edited,
        phases=(head, replace(whole, learning_rate=rates, solver="sgd", warmup=0.5)),
        class_weights={"china": 0.5, "flower": 1.5},
        metric="balanced_accuracy",
        label_smoothing=0.1,
    )
    return made


@pytest.fixture(scope="module")
def runs(plans, photos, tmp_path_factory):
    """`(printed, model)` of the script of each plan, run in a process that has TensorFlow and Keras but not this."""
    import keras

    folder = tmp_path_factory.mktemp("scripts")
    for recipe, plan in plans.items():
        (folder / f"{recipe}.py").write_text(strategies.write_script(plan), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(photos), *plans], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    texts = done.stdout.split("# ")[1:]
    return {text.split()[0]: (text, keras.models.load_model(folder / f"{text.split()[0]}.keras")) for text in texts}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_script_does_what_the_plan_says(recipe, plans, runs, photos):
    """The same freeze map, as many weights trained, and an accuracy within noise of `strategies.train`."""
    plan, (printed, model) = plans[recipe], runs[recipe]
    freeze_map = {
        (cell.phase, row.stage): cell.state for row in plan.freeze_map for cell in row.cells if cell.state != "removed"
    }
    found = re.findall(r"^(\w+) (\w+) (frozen|trained|new)$", printed, re.MULTILINE)
    # Rebuilt stages start from their pretrained values: the script calls them trained.
    rebuilt = {(phase.name, stage) for phase in plan.phases for stage in plan.rebuilt_stages}
    expected = {
        place: "trained" if place in rebuilt and state == "new" else state for place, state in freeze_map.items()
    }
    assert {(phase, stage): state for phase, stage, state in found} == expected
    result = strategies.train(plan, photos, cache=False, baseline=False)
    learnt = dict(re.findall(r"^(\w+): (\d+) weights learnt", printed, re.MULTILINE))
    assert {phase: int(number) for phase, number in learnt.items()} == result.num_trainable_by_phase
    assert [weight.path for weight in model.weights] == [weight.path for weight in result.model.weights]
    accuracy, num_test = re.search(r"^test accuracy ([\d.]+) on (\d+) images", printed, re.MULTILINE).groups()
    assert int(num_test) == result.test.num_images
    assert result.test.low - 0.2 <= float(accuracy) <= result.test.high + 0.2
    if recipe == "head_only":
        one, other = (part.get_layer("classifier").get_weights()[0].ravel() for part in (model, result.model))
        assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.98


def test_every_script_is_short_and_needs_keras_alone():
    """All networks and recipes, with every kind of weights: 120 lines at most, that compile."""
    for name in NAMES:
        for recipe in RECIPES:
            for weights in ("imagenet", "random", "file.h5", *(["bundled"] if name == "MobileNetV2-0.35" else [])):
                plan = strategies.make_plan(
                    recipe, name, class_names="abc", num_train=100, images_per_class=[80, 10, 10], weights=weights
                )
                script = strategies.write_script(plan)
                lines = script.splitlines()
                assert len(lines) <= 120, (name, recipe, weights)
                assert max(map(len, lines)) <= 120, (name, recipe, weights)
                modules = {
                    alias.name.split(".")[0]
                    for node in ast.walk(ast.parse(script))
                    if isinstance(node, ast.Import | ast.ImportFrom)
                    for alias in ([ast.alias(node.module)] if isinstance(node, ast.ImportFrom) else node.names)
                }
                assert modules == {"sys", "pathlib", "keras", "numpy", "tensorflow"}


def test_names_stay_names():
    """Whatever a class or a phase is called, it is text in the script."""
    names = ('"""\nimport os\n', "it's", 'say "no"', "\\", "{{ 7 * 7 }}", "é\u202e")
    plan = strategies.make_plan("retrain_all", NETWORK, class_names=names, num_train=80, weights="random")
    first, last = plan.phases
    plan = replace(plan, phases=(replace(first, name='", quit(), "'), last))
    values = {
        node.targets[0].id: node.value
        for node in ast.parse(strategies.write_script(plan)).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert tuple(ast.literal_eval(values["CLASSES"])) == names
    assert ast.literal_eval(values["phases"])[0][0] == '", quit(), "'


def test_a_model_of_ones_own_has_no_script():
    """A script could not build it; the sentence says what to do instead."""
    import keras

    inputs = keras.Input((32, 32, 3))
    edges = keras.layers.Conv2D(4, 3, name="edges")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="parts")(edges))
    strategies.add_backbone("script_test", model, stages={"early": "edges", "late": "parts"})
    try:
        plan = strategies.make_plan("head_only", "script_test", class_names=["a", "b"], num_train=80)
        with pytest.raises(PlanError, match=r"a network of Keras.*strategies\.train"):
            strategies.write_script(plan)
    finally:
        del BACKBONES["script_test"]


def test_the_command_prints_the_script(advisor, small_run, tmp_path):
    """Of a plan file or of a folder that holds one; stdout is the script and nothing else."""
    folder, _, result = small_run
    expected = strategies.write_script(result.plan)
    for path in (folder, folder / "plan.json"):
        code, printed, _ = advisor("script", path)
        assert (code, printed) == (0, expected)
    code, printed, errors = advisor("script", tmp_path)
    assert (code, printed) == (2, "")
    assert "Expected a plan file" in errors
