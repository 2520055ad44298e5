"""Plans: checked, written, read, edited; and the freeze map that follows from them."""

import json
import os
from dataclasses import replace

import pytest

from strategies.errors import PlanError, UnknownNameError, UserError
from strategies.plans.plan import check_class_names, check_plan, plan_from_dict, read_plan
from strategies.plans.planning import make_plan

NAMES = ["cat", "dog", "elk"]


def _plan(recipe="keep_early_layers", backbone="MobileNetV2-0.35", **options):
    return make_plan(recipe, backbone, class_names=NAMES, num_train=200, **options)


def _states(plan):
    return {row.stage: [cell.state for cell in row.cells] for row in plan.freeze_map}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400])
def test_numbers_that_are_not_finite_are_refused(number, tmp_path):
    """Python's JSON reads them, wherever they stand; neither brackets alone nor a pipe are a plan."""
    values = _plan().to_dict()
    values["phases"][-1]["learning_rate"]["classifier"] = number
    (tmp_path / "plan.json").write_text(json.dumps(values))
    with pytest.raises(PlanError, match="finite"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(PlanError, match="finite"):
        plan_from_dict(values)
    (tmp_path / "plan.json").write_text("[" * 100_000)
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("plan.json", "pipe.json"):
        with pytest.raises(PlanError, match="JSON"):
            read_plan(tmp_path / name)


def test_an_edited_plan_is_obeyed(tmp_path):
    """A user may unfreeze another stage in the file."""
    values = _plan().to_dict()
    values["phases"][1]["trains"].insert(0, "stage2")
    values["phases"][1]["learning_rate"]["stage2"] = 1e-4
    values["freeze_map"] = []
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(values))
    assert _states(read_plan(path))["stage2"] == ["frozen", "trained", "trained"]


def _edit(change):
    values = json.loads(json.dumps(_plan().to_dict()))
    values["freeze_map"] = []
    change(values)
    return values


def _set(key, value):
    return lambda plan: plan.update({key: value})


def _phase(index, key, value):
    return lambda plan: plan["phases"][index].update({key: value})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_set("phases", []), "phases"),
        (_set("version", 3), "version"),
        (_set("version", 1), "from a release before 0.6"),
        (_set("image_size", 16), "at least 32 px"),
        (_set("image_size", "big"), "image_size"),
        (_set("cut_stage", "stage9"), "cut_stage must be a stage"),
        (_set("rebuilt_stages", ["stage4"]), "without a gap"),
        (_set("class_names", ["cat", "cat", "dog"]), "a different name"),
        (_set("dropout", 1.0), "dropout"),
        (_set("class_weights", {"cat": 2.0}), "every class"),
        (_phase(1, "trains", ["classifier"]), "one learning_rate for each"),
        (_phase(0, "trains", ["top"]), "which the plan removes"),
        (_phase(0, "trains", ["stage99"]), "does not have"),
        (_phase(1, "steps", 0), "at least one step"),
        (_phase(0, "steps", -3), "steps"),
        (_phase(1, "solver", "logistic"), "can train only the classifier"),
        (_phase(0, "batch_norm", {"stem": {"mode": "train", "momentum": 0.9}}), "freezes 'stem'"),
        (_phase(1, "batch_norm", {"stage4": {"mode": "train"}}), "needs a momentum"),
        (_phase(0, "name", "later_layers"), "different names"),
        (_phase(0, "learning_rate", {"classifier": -1}), "learning_rate"),
        (_set("extra", 1), "extra"),
        (_set("metric", "f1"), "metric"),
        (_set("precision", "float8"), "precision"),
        (_set("label_smoothing", 1.0), "label_smoothing"),
        (_phase(0, "views", -1), "views"),
        (_set("image_bits", 11), "image_bits"),
        (_set("resize", "stretch"), "resize"),
        (_phase(1, "blend", 0), "blend"),
        (_phase(1, "blend", 1.5), "blend"),
        (_phase(1, "largest_step", 0), "largest_step"),
        (lambda plan: plan.pop("phases"), "phases"),
    ],
)
def test_an_impossible_or_contradictory_plan_is_refused_with_a_sentence(change, sentence):
    """What cannot be carried out is said before anything is built."""
    with pytest.raises(PlanError, match=sentence) as caught:
        plan_from_dict(_edit(change))
    assert "Received" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_classifier_that_never_trains_is_refused():
    """Random weights that stay random are a mistake."""
    plan = _plan("head_only")
    phase = replace(plan.phases[0], solver="adamw", steps=5, trains=("stem",), learning_rate={"stem": 1e-3})
    with pytest.raises(PlanError, match="a phase must train"):
        check_plan(replace(plan, phases=(phase,)))


def test_a_freeze_map_that_contradicts_the_phases_is_refused():
    """Editing the derived map instead of the phases is answered with what the phases say."""
    values = _plan().to_dict()
    values["freeze_map"][0]["cells"][0]["state"] = "trained"
    with pytest.raises(PlanError, match=r"contradicts itself.*stem"):
        plan_from_dict(values)


def test_an_unknown_backbone_in_a_plan_is_named():
    """The nearest known name is suggested."""
    with pytest.raises(UnknownNameError, match="MobileNetV2"):
        plan_from_dict(_edit(_set("backbone", "MobilNetV2")))


def test_a_plan_for_other_classes_is_refused():
    """The classes that differ are named."""
    with pytest.raises(PlanError, match="elk"):
        check_class_names(_plan().class_names, ["cat", "dog", "fox"])


@pytest.mark.parametrize("content", [None, "{", "[]", "3"])
def test_a_file_that_is_no_plan_is_refused(tmp_path, content):
    """Missing, broken and foreign files get a sentence."""
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PlanError, match="Received"):
        read_plan(path)


def test_a_plan_that_does_not_say_how_images_are_decoded_means_the_usual():
    """Plans of earlier versions name neither the range nor how images are resized. A plan that does keeps it."""
    values = _plan(image_bits=12, resize="pad").to_dict()
    assert (plan_from_dict(values).image_bits, plan_from_dict(values).resize) == (12, "pad")
    del values["image_bits"], values["resize"]
    assert (plan_from_dict(values).image_bits, plan_from_dict(values).resize) == (16, "squeeze")


def test_a_plan_keeps_the_channels_and_refuses_what_does_not_fit_them():
    """A plan of an earlier release has none, and is for RGB images."""
    mixing = ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0))
    plan = _plan(channels=[5, 2], mixing=mixing)
    assert plan_from_dict(plan.to_dict()) == plan
    assert (plan.channels, plan.mixing, plan.network.num_channels) == ((5, 2), mixing, 2)
    assert _plan(channels=[4, 3, 2]).network.num_channels == 3
    earlier = _plan().to_dict()
    del earlier["channels"], earlier["mixing"]
    assert plan_from_dict(earlier) == _plan()
    for options, sentence in (
        ({"channels": [0]}, "numbers of bands, counted from 1"),
        ({"channels": [5, 2], "mixing": ((1.0,), (1.0,), (1.0,))}, "mixing must have three rows"),
        ({"channels": [4, 3, 2], "mixing": 3 * ((1.0, 0.0, 0.0),)}, "mixing must have three rows"),
        ({"channels": [5, 2], "augment": "flip,color"}, "color and randaugment are for red, green and blue"),
    ):
        with pytest.raises(UserError, match=sentence):
            _plan(**options)
    assert _plan(channels=[4, 3, 2], augment="color").augmentation["color"]
