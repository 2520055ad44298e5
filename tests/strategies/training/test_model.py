"""The model of a plan: its layers by stage, what a phase freezes, and no change to the process that builds it."""

import random
from dataclasses import replace

import keras
import numpy as np
import pytest
from support import deep_are_slow

import strategies
from strategies.networks.backbones import BACKBONES
from strategies.plans.planning import make_plan
from strategies.plans.sizes import count_parameters
from strategies.recipes import RECIPES
from strategies.training.model import StagedModel

# One row of each paper and way of scaling: the larger ones have more of the same blocks.
FAMILIES = list({(row.source, row.preprocessing): row.name for row in reversed(BACKBONES.values())}.values())


@pytest.mark.parametrize("backbone", deep_are_slow(FAMILIES))
def test_every_recipe_builds_on_every_family_and_sets_what_its_freeze_map_says(backbone):
    """For one row of each family: the layers that may move are exactly those of the stages that train."""
    row = BACKBONES[backbone]
    size = max(64, row.min_image_size)
    for recipe in RECIPES:
        plan = make_plan(recipe, backbone, class_names=["a", "b", "c"], num_train=50, image_size=size, weights="random")
        staged = StagedModel.build(plan)
        model, owners = staged.model, staged.layers
        assert set(owners) == set(plan.built_stages)
        if recipe == "retrain_all":  # the other recipes have stages of the same sizes
            counts = count_parameters(plan)
            for stage, names in owners.items():
                assert counts[stage] == sum(model.get_layer(name).count_params() for name in names), stage
        for phase in plan.phases:
            staged.start_phase(phase)
            moving = staged.moving_paths()
            for stage, names in owners.items():
                weights = [weight.path for name in names for weight in model.get_layer(name).weights]
                assert weights
                assert bool(set(weights) & moving) == (stage in phase.trains), f"{recipe} {phase.name} {stage}"
        keras.utils.clear_session()
    assert set(counts) == {stage.name for stage in plan.stages} | {"classifier"}
    assert all(counts.values())


def _draws_after_building(process_seed, plan_seed):
    """The next random numbers of Python, NumPy and Keras, after a model was built in a process with a given seed."""
    plan = make_plan(
        "keep_early_layers",
        "MobileNet-0.25",
        class_names=["a", "b"],
        num_train=80,
        image_size=32,
        weights="random",
        seed=plan_seed,
    )
    keras.utils.set_random_seed(process_seed)
    strategies.build_model(plan)
    return random.random(), np.random.random(), float(keras.random.uniform(()))


def test_building_a_model_does_not_reseed_the_process():
    """Random numbers continue as the process was seeded, whatever the seed of the plan; NumPy's are not used at all."""
    first = _draws_after_building(1, 7)
    assert _draws_after_building(1, 8) == first
    assert not set(_draws_after_building(7, 7)) & set(first)
    keras.utils.set_random_seed(1)
    assert np.random.random() == first[1]


def test_the_classifier_is_drawn_from_the_random_state_of_the_process():
    """Two models of one plan differ, unless the process is seeded before each."""
    plan = make_plan(
        "head_only", "MobileNet-0.25", class_names=["a", "b"], num_train=80, image_size=32, weights="random"
    )
    kernels = []
    for seed in (0, None, 0):
        if seed is not None:
            keras.utils.set_random_seed(seed)
        kernels.append(strategies.build_model(plan).get_layer("classifier").get_weights()[0])
    assert not np.array_equal(kernels[0], kernels[1])
    assert np.array_equal(kernels[0], kernels[2])


def test_a_frozen_weight_that_has_changed_is_named():
    """The check compares every weight that the phase does not train with its value at the start."""
    plan = make_plan(
        "head_only", "MobileNet-0.25", class_names=["a", "b"], num_train=80, image_size=32, weights="random"
    )
    staged = StagedModel.build(plan)
    (phase,) = plan.phases
    staged.start_phase(phase)
    before = staged.snapshot()
    trained, frozen = (staged.model.get_layer(name) for name in ("classifier", "conv1"))
    trained.set_weights([weight + 1 for weight in trained.get_weights()])
    staged.check_frozen(phase, before)
    frozen.set_weights([weight + 1 for weight in frozen.get_weights()])
    with pytest.raises(RuntimeError, match=r"conv1/kernel in phase 'head'"):
        staged.check_frozen(phase, before)


def test_no_step_changes_a_kernel_by_more_than_its_share():
    """Rates are limited by the size of a kernel at the start of the phase; those of vectors are not."""
    plan = make_plan(
        "fine_tune_all", "MobileNet-0.25", class_names=["a", "b"], num_train=80, image_size=32, weights="random"
    )
    staged, whole = StagedModel.build(plan), plan.phases[1]
    staged.start_phase(whole)
    before = staged.snapshot()
    before = {path: np.full_like(values, 0.02 if path == "conv1/kernel" else 1.0) for path, values in before.items()}
    (rate,) = set(whole.learning_rate.values())
    assert set(staged.learning_rates(whole, before).values()) == {rate}
    limited = staged.learning_rates(replace(whole, largest_step=rate), before)
    assert limited["classifier/kernel"] == limited["classifier/bias"] == rate
    assert limited["conv1/kernel"] == pytest.approx(0.02 * rate, rel=0.1)
    assert sum(value < rate for value in limited.values()) == 1


def test_a_model_is_cut_only_where_the_whole_backbone_is_frozen():
    """A cut model gives the same probabilities in two parts."""
    plan = make_plan(
        "fine_tune_all", "MobileNet-0.25", class_names=["a", "b"], num_train=80, image_size=32, weights="random"
    )
    staged = StagedModel.build(plan)
    head, whole = plan.phases
    assert staged.cut(whole) is None
    cut = staged.cut(head)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("float32")
    together = staged.model(images, training=False)
    np.testing.assert_allclose(cut.trained(cut.frozen(images, training=False), training=False), together, atol=1e-6)
