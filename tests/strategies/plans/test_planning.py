"""Recipes made concrete: what is kept, frozen and new, how many steps, which policy; and plans changed as a whole."""

import json
from dataclasses import replace

import pytest

from strategies.errors import PlanError, UnknownNameError
from strategies.networks.backbones import BACKBONES
from strategies.plans.plan import check_plan, plan_from_dict
from strategies.plans.planning import (
    images_seen,
    make_plan,
    peak_rate,
    with_batch_norm,
    with_batch_size,
    with_budget,
    with_rates,
)
from strategies.recipes import RECIPES

NAMES = ["cat", "dog", "elk"]
LAST = "stage6"  # of MobileNetV2, the only one whose BatchNorm retrain_all trains


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
    """The recipe for small and different: early frozen, the rest built again from pretrained values."""
    plan = _plan("keep_early_layers")
    states, origins = _states(plan), {row.stage: row.origin for row in plan.freeze_map}
    assert states["stem"] == states[plan.cut_stage] == ["frozen", "frozen", "trained"]
    assert plan.kept_stages + plan.rebuilt_stages == tuple(stage.name for stage in plan.stages)
    for stage in plan.rebuilt_stages:
        assert states[stage] == ["frozen", "new", "new"]
        assert origins[stage] == "new_from_pretrained"
    assert plan.phases[-1].optional


def test_retrain_all_replaces_the_last_stage_and_freezes_nothing():
    """The recipe for large and different: BatchNorm in training mode in the last stage, and nowhere else."""
    plan = _plan("retrain_all")
    last = {row.stage: row.cells[-1] for row in plan.freeze_map}
    assert (last["stem"].state, last["stem"].batch_norm) == ("trained", "inference")
    assert plan.rebuilt_stages == (plan.stages[-1].name,)
    assert last[plan.stages[-1].name].state == "new"
    assert last[plan.stages[-1].name].batch_norm.startswith("train")


@pytest.mark.parametrize("num_train", [100, 1_000])
def test_a_phase_that_trains_batch_norm_has_a_higher_rate_and_keeps_all_of_its_change(few_images, num_train):
    """A network without BatchNorm has nothing to train it, so retrain_all is as careful there as fine_tune_all is."""
    normed, tuned, plain, plain_tuned = (
        make_plan(recipe, backbone, class_names=NAMES, num_train=num_train, similarity=0.1, image_size=96).phases[-1]
        for backbone in ("MobileNetV2", "VGG16")
        for recipe in ("retrain_all", "fine_tune_all")
    )
    assert (set(normed.learning_rate.values()), normed.blend, normed.largest_step) == ({1e-3}, 1.0, 0.01)
    assert set(tuned.learning_rate.values()) == {float(f"{4e-4 / tuned.blend:.3g}")}
    assert (plain.learning_rate, plain.blend, plain.batch_norm) == (plain_tuned.learning_rate, plain_tuned.blend, {})
    assert tuned.largest_step is plain.largest_step is None


def test_images_are_changed_as_the_plan_is_asked_to():
    """By name, one or several or none; the plan survives a file. An unknown name gets a suggestion."""
    plans = {names: _plan(augment=names) for names in ("flip,shift", "shift, flip", "flip", "shift", "none")}
    assert _plan().augmentation == plans["flip,shift"].augmentation == plans["shift, flip"].augmentation
    assert plans["flip"].augmentation == {"horizontal_flip": True}
    assert plans["shift"].augmentation == {"shift": 0.1}
    assert plans["none"].augmentation == {}
    assert all(plan_from_dict(plan.to_dict()) == plan for plan in plans.values())
    with pytest.raises(UnknownNameError, match="Did you mean 'flip'"):
        _plan(augment="flips")
    with pytest.raises(PlanError, match="'none' alone"):
        _plan(augment="none,flip")


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
        make_plan("retrain_all", "MobileNetV2-0.35", class_names=NAMES, num_train=count) for count in (1_000, 100_000)
    )
    assert few.phases[1].batch_norm[LAST]["momentum"] == 0.9
    assert few.phases[1].steps < 1000 < many.phases[1].steps
    assert many.phases[1].batch_norm[LAST]["momentum"] == pytest.approx(1 - 100 / many.phases[1].steps, abs=1e-3)


def test_rates_fall_with_the_similarity_to_imagenet():
    """In between, the logarithm is straight; unknown images are treated like similar ones; more images allow more."""
    assert peak_rate(None, 50) == peak_rate(0.7, 100) == peak_rate(1.0, 100) == pytest.approx(1e-4)
    assert peak_rate(0.0, 10) == peak_rate(0.65, 1_000) == peak_rate(0.9, 1_000_000) == pytest.approx(4e-4)
    assert peak_rate(0.675, 100) == pytest.approx(2e-4)
    assert peak_rate(0.9, 400) == pytest.approx(2e-4)


def test_few_images_change_more_and_keep_a_share(few_images):
    """The rate is divided by the share that is kept."""
    plans = [make_plan("fine_tune_all", similarity=score, class_names=NAMES, num_train=100) for score in (0.9, 0.1)]
    assert [plan.phases[1].blend for plan in plans] == [0.5, 0.75]
    assert [set(plan.phases[1].learning_rate.values()) for plan in plans] == [{2e-4}, {5.33e-4}]


def test_few_images_are_trained_on_in_small_steps_and_in_the_end_all(few_images):
    """The number of images that a phase processes is the same; with many images there is no refit."""
    few, some, many = (make_plan("fine_tune_all", class_names=NAMES, num_train=count) for count in (199, 200, 2_000))
    assert [(plan.batch_size, plan.phases[1].blend, plan.refit) for plan in (few, some, many)] == [
        (16, 0.5, True),
        (32, 1.0, True),
        (32, 1.0, False),
    ]
    assert few.phases[1].steps * 16 == pytest.approx(3_184, abs=16)


def test_rates_are_multiplied_where_pretrained_stages_train():
    """The phase of the head has no rate."""
    plan = _plan("retrain_all")
    first, second = with_rates(plan, 0.1).phases
    assert first == plan.phases[0]
    assert second.learning_rate["stem"] == pytest.approx(plan.phases[1].learning_rate["stem"] / 10)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_budget_shortens_every_phase_that_is_trained_by_steps(recipe):
    """Steps are rounded up, a solved head stays, and the whole plan is the plan."""
    plan = _plan(recipe)
    short = with_budget(plan, 0.3)
    check_plan(short)
    for before, after in zip(plan.phases, short.phases, strict=True):
        assert (after.steps == 0) == (not before.has_steps)
        assert 0 <= after.steps - 0.3 * before.steps < 1
    assert all(phase.steps == 1 for phase in with_budget(plan, 1e-9).phases if phase.has_steps)
    assert with_budget(plan, 1) == plan


def test_a_budget_is_exact_where_the_product_is_a_whole_number():
    """100 * 0.07 is 7.000000000000001 in floating point, and seven steps here."""
    plan = _plan("retrain_all")
    plan = replace(plan, phases=tuple(replace(phase, steps=100) for phase in plan.phases))
    assert [phase.steps for phase in with_budget(plan, 0.07).phases] == [100, 7]  # a solved head has no steps


def test_a_budget_fits_the_momentum_of_batch_norm_anew():
    """As a plan that was made with so few steps has it; a policy that holds BatchNorm stays."""
    options = {"class_names": NAMES, "num_train": 100_000}
    plan = make_plan("retrain_all", "MobileNetV2-0.35", **options)
    short = make_plan("retrain_all", "MobileNetV2-0.35", budget=0.1, **options)
    changed = with_budget(plan, 0.1).phases[1].batch_norm[LAST]
    assert changed == short.phases[1].batch_norm[LAST] != plan.phases[1].batch_norm[LAST]
    held = replace(plan.phases[1], batch_norm={"stem": {"mode": "inference"}})
    assert with_budget(replace(plan, phases=(held,)), 0.1).phases[0].batch_norm == held.batch_norm


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_a_budget_that_is_no_factor_is_refused(factor):
    """In a sentence that says what was received."""
    with pytest.raises(PlanError, match=f"Received: {factor}"):
        with_budget(_plan(), factor)


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


def test_the_cut_can_be_chosen():
    """keep_early_layers takes the stage to cut after; the others have none."""
    assert _plan(cut_stage="stage3").kept_stages == ("stem", "stage1", "stage2", "stage3")
    with pytest.raises(PlanError, match="one of stem"):
        _plan(cut_stage="stage6")
    with pytest.raises(PlanError, match="Only keep_early_layers"):
        _plan("head_only", cut_stage="stage3")


@pytest.mark.parametrize("recipe", RECIPES)
def test_other_batches_see_as_many_images(recipe):
    """Rates of the optimizer grow with the square root of the batch; a solved head stays, and so does the same size."""
    plan = _plan(recipe)
    small, large = with_batch_size(plan, 8), with_batch_size(plan, 128)
    for changed, factor in ((small, 4), (large, 1 / 4)):
        check_plan(changed)
        assert changed.batch_size == 32 / factor
        for before, after in zip(plan.phases, changed.phases, strict=True):
            if not before.has_steps:
                assert after == before
                continue
            assert 0 <= after.steps - factor * before.steps < 1
            for stage, rate in before.learning_rate.items():
                assert after.learning_rate[stage] == pytest.approx(rate / factor**0.5, rel=0.01)
    assert with_batch_size(plan, 32) == plan


def test_the_rates_of_sgd_grow_with_the_batch():
    """In proportion, as is usual for it."""
    plan = _plan("fine_tune_all")
    plan = replace(plan, phases=(plan.phases[0], replace(plan.phases[1], solver="sgd")))
    changed = with_batch_size(plan, 16).phases[1].learning_rate["stem"]
    assert changed == pytest.approx(plan.phases[1].learning_rate["stem"] / 2)


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_batch_that_is_no_number_of_images_is_refused(size):
    """In a sentence that says what was received."""
    with pytest.raises(PlanError, match=f"Received: {size}"):
        with_batch_size(_plan(), size)
