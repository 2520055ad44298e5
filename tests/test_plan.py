"""Plans: made, checked, written, read, edited; and the freeze map that follows from them."""

import json
from dataclasses import replace

import pytest

from strategies.backbones import BACKBONES
from strategies.errors import PlanError, UnknownNameError
from strategies.plan import (
    check_classes,
    check_plan,
    images_seen,
    make_plan,
    plan_from_dict,
    read_plan,
    with_batch_norm,
    with_rates,
)
from strategies.recipes import RECIPES

NAMES = ["cat", "dog", "elk"]


def _plan(recipe="keep_early_layers", backbone="MobileNetV2-0.35", **options):
    return make_plan(recipe, backbone, class_names=NAMES, num_train=200, **options)


def _states(plan):
    return {row.stage: [cell.state for cell in row.cells] for row in plan.freeze_map}


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_a_plan_for_every_backbone(recipe, backbone):
    """Each of the four can be made concrete for each row, survives a file, and trains its classifier."""
    plan = _plan(recipe, backbone)
    assert plan_from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert plan.new_layers[-1].units == 3
    assert "new" in _states(plan)["classifier"]
    assert set(_states(plan)["top"]) == {"removed"}


def test_head_only_freezes_everything_but_the_classifier():
    """The recipe for small and similar."""
    states = _states(_plan("head_only"))
    assert states.pop("classifier") == ["new"]
    assert states.pop("top") == ["removed"]
    assert set(map(tuple, states.values())) == {("frozen",)}


def test_fine_tune_all_fits_the_head_and_then_trains_everything():
    """The recipe for large and similar freezes nothing in its last phase and holds BatchNorm."""
    plan = _plan("fine_tune_all")
    states = _states(plan)
    assert states["stem"] == ["frozen", "trained"]
    assert states["classifier"] == ["new", "new"]
    assert plan.freeze_map[0].cells[1].batch_norm == "inference"


def test_keep_early_layers_freezes_the_early_stages_and_replaces_the_later_ones():
    """The recipe for small and different: early frozen, the rest new, the last stage gone."""
    plan = _plan("keep_early_layers")
    states, origins = _states(plan), {row.stage: row.origin for row in plan.freeze_map}
    assert states["stem"] == states[plan.cut_stage] == ["frozen", "frozen", "trained"]
    assert states[plan.rebuilt_stages[0]] == ["frozen", "new", "new"]
    assert origins[plan.rebuilt_stages[0]] == "new_from_pretrained"
    assert origins[plan.stages[-1].name] == "removed"
    assert plan.phases[-1].optional


def test_retrain_all_replaces_the_last_stage_and_freezes_nothing():
    """The recipe for large and different: BatchNorm in training mode in the last phase."""
    plan = _plan("retrain_all")
    last = {row.stage: row.cells[-1] for row in plan.freeze_map}
    assert last["stem"].state == "trained"
    assert last["stem"].batch_norm.startswith("train")
    assert last["new_stage"].state == "new"
    assert last[plan.stages[-1].name].state == "removed"


@pytest.mark.parametrize("recipe", ["fine_tune_all", "keep_early_layers", "retrain_all"])
def test_the_batch_norm_policy_can_be_changed_as_a_whole(recipe):
    """Where pretrained stages train, all hold or train theirs; new layers and frozen stages stay as they are."""
    plan = _plan(recipe)
    for mode in ("inference", "train"):
        changed = with_batch_norm(plan, mode)
        check_plan(changed)
        for row in changed.freeze_map:
            for cell in row.cells:
                if cell.state in ("trained", "new") and row.origin.endswith("pretrained"):
                    assert cell.batch_norm.startswith(mode)
                if cell.state == "frozen" and row.stage != "classifier":
                    assert cell.batch_norm == "inference"
    with pytest.raises(PlanError, match="'inference' or 'train'"):
        with_batch_norm(plan, "off")


def test_the_momentum_of_batch_norm_fits_the_number_of_steps():
    """A hundredth of the steps is what the moving statistics remember, and never more than ten steps at least."""
    few, many = (
        make_plan("retrain_all", "MobileNetV2-0.35", class_names=NAMES, num_train=count) for count in (100, 100_000)
    )
    assert few.phases[1].batch_norm["stem"]["momentum"] == 0.9
    assert few.phases[1].steps < 1000 < many.phases[1].steps
    assert many.phases[1].batch_norm["stem"]["momentum"] == pytest.approx(1 - 100 / many.phases[1].steps, abs=1e-3)


def test_rates_are_multiplied_where_pretrained_stages_train():
    """The phase of the new layers keeps its rate."""
    plan = _plan("retrain_all")
    first, second = with_rates(plan, 0.1).phases
    assert first == plan.phases[0]
    assert second.learning_rate["stem"] == pytest.approx(plan.phases[1].learning_rate["stem"] / 10)


def test_the_number_of_steps_follows_from_the_number_of_images():
    """Sixteen passes, within a floor and what two cores can afford."""
    assert [images_seen(count) for count in (10, 1_000, 2_000, 1_000_000)] == [3_000, 16_000, 32_000, 60_000]


def test_classes_are_weighted_where_they_are_imbalanced():
    """From a ratio of three on: rare classes count more, images count one on average, balanced accuracy selects."""
    plan = _plan("head_only", images_per_class=[120, 60, 20])
    assert plan.metric == "balanced_accuracy"
    weights = [plan.class_weights[name] for name in NAMES]
    assert weights == sorted(weights)
    assert sum(weight * count for weight, count in zip(weights, (120, 60, 20), strict=True)) == pytest.approx(200)
    even = _plan("head_only", images_per_class=[80, 60, 60])
    assert (even.metric, even.class_weights) == ("accuracy", None)


def test_vgg16_keeps_its_fully_connected_layers_where_only_the_last_one_is_replaced():
    """fine_tune_all keeps fc1 and fc2, head_only does not; at another input size they do not exist."""
    assert _states(_plan("fine_tune_all", "VGG16"))["fc"] == ["frozen", "trained"]
    assert _states(_plan("head_only", "VGG16"))["fc"] == ["removed"]
    assert "fc" not in _states(_plan("fine_tune_all", "VGG16", image_size=128))


def test_a_backbone_without_batch_norm_has_no_policy_for_it():
    """VGG16 has no BatchNormalization, but the new stage does."""
    cells = {row.stage: row.cells[-1].batch_norm for row in _plan("retrain_all", "VGG16").freeze_map}
    assert cells["block1"] is None
    assert cells["new_stage"].startswith("train")


def test_the_cut_can_be_chosen():
    """keep_early_layers takes the stage to cut after; the others have none."""
    assert _plan(cut_stage="stage3").kept_stages == ("stem", "stage1", "stage2", "stage3")
    with pytest.raises(PlanError, match="one of stem"):
        _plan(cut_stage="stage6")
    with pytest.raises(PlanError, match="Only keep_early_layers"):
        _plan("head_only", cut_stage="stage3")


def test_an_edited_plan_is_obeyed(tmp_path):
    """A person may unfreeze one more stage in the file."""
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
        (_set("version", 2), "version"),
        (_set("image_size", 16), "at least 32 px"),
        (_set("image_size", "big"), "image_size"),
        (_set("cut_stage", "stage9"), "cut_stage must be a stage"),
        (_set("rebuilt_stages", ["stage4"]), "without a gap"),
        (_set("class_names", ["cat", "cat", "dog"]), "different class names"),
        (_set("class_names", ["cat", "dog"]), "as wide as"),
        (_set("class_weights", {"cat": 2.0}), "every class"),
        (_phase(0, "trains", ["new_stage"]), "one learning_rate for each"),
        (_phase(0, "trains", ["stage6"]), "which the plan removes"),
        (_phase(0, "trains", ["stage99"]), "does not have"),
        (_phase(0, "steps", 0), "at least one step"),
        (_phase(0, "steps", -3), "steps"),
        (_phase(0, "solver", "logistic"), "fits the classifier alone"),
        (_phase(0, "batch_norm", {"stem": {"mode": "train", "momentum": 0.9}}), "freezes 'stem'"),
        (_phase(0, "batch_norm", {"new_stage": {"mode": "train"}}), "needs a momentum"),
        (_phase(0, "name", "later_layers"), "different names"),
        (_phase(0, "learning_rate", {"new_stage": -1, "classifier": 1e-3}), "learning_rate"),
        (_set("extra", 1), "extra"),
        (_set("metric", "f1"), "metric"),
        (_set("precision", "float8"), "precision"),
        (_set("label_smoothing", 1.0), "label_smoothing"),
        (_phase(0, "views", -1), "views"),
        (lambda plan: plan.pop("phases"), "phases"),
        (lambda plan: plan["new_layers"].reverse(), "end with the one classifier"),
        (lambda plan: plan["new_layers"][0].update(name="stem"), "names of their own"),
    ],
)
def test_an_impossible_or_contradictory_plan_is_refused_with_a_sentence(change, sentence):
    """What cannot be carried out is said before anything is built."""
    with pytest.raises(PlanError, match=sentence) as caught:
        plan_from_dict(_edit(change))
    assert "Received" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_new_layer_that_never_trains_is_refused():
    """Random weights that stay random are a mistake."""
    plan = _plan("head_only")
    phase = replace(plan.phases[0], solver="adamw", steps=5, trains=("stem",), learning_rate={"stem": 1e-3})
    with pytest.raises(PlanError, match="must train in some phase"):
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
        check_classes(_plan(), ["cat", "dog", "fox"])


@pytest.mark.parametrize("content", [None, "{", "[]", "3"])
def test_a_file_that_is_no_plan_is_refused(tmp_path, content):
    """Missing, broken and foreign files get a sentence."""
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PlanError, match="Received"):
        read_plan(path)
