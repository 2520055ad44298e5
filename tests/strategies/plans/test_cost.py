"""The cost of a plan: how its parts add up, and what it is estimated to be before anything is trained."""

from dataclasses import replace

import pytest

from strategies.plans.cost import PlanCost, RecipeCost, decoded_bytes, estimate_cost
from strategies.plans.planning import make_plan, with_batch_norm, with_budget
from strategies.recipes import RECIPES

IMAGES = {"train": 320, "val": 100, "test": 80}


def _plan(recipe="fine_tune_all", image_size=64, num_train=320, backbone="MobileNet-0.25", **options):
    names = ["cat", "dog"]
    return make_plan(recipe, backbone, class_names=names, num_train=num_train, image_size=image_size, **options)


def test_steps_evaluations_and_passes_are_counted():
    """Each phase has its own step; validation images are passed at each evaluation, all images once; a refit trains."""
    plan = make_plan("keep_early_layers", "MobileNet-0.25", class_names=["cat", "dog"], num_train=320, image_size=32)
    assert [phase.steps for phase in plan.phases] == [0, 160, 32]
    images = {"train": 320, "val": 100, "test": 80}
    cost = PlanCost(plan=plan, images=images, start=7.0, per_step=(1.0, 2.0), per_image=0.01)
    evaluations = 10 + 4  # after 16 and 10 steps
    passes = 5 + 3.2 + 1 + 1  # all; for the threshold; for the temperature
    assert cost.seconds() == pytest.approx(7 + 160 + 64 + passes + evaluations * 1)
    assert cost.seconds(0.5) == pytest.approx(7 + 80 + 32 + passes + (8 + 2) * 1)
    assert cost.seconds(1e-9) == pytest.approx(7 + 3 + passes + 2)
    twice = replace(cost, plan=replace(plan, refit=True))
    assert twice.seconds() - cost.seconds() == pytest.approx(160 + 64 + 4.2 + 4.2)  # the last: to compare with


def test_an_epoch_is_a_pass_over_the_training_images_and_a_look_at_validation():
    """Of the last phase, which is the longest; a head that is solved has none."""
    images = {"train": 320, "val": 100, "test": 80}
    plan = make_plan("keep_early_layers", "MobileNet-0.25", class_names=["cat", "dog"], num_train=320, image_size=32)
    cost = PlanCost(plan=plan, images=images, start=7.0, per_step=(1.0, 2.0), per_image=0.01, memory=2**30)
    assert cost.seconds_per_epoch == pytest.approx(10 * 2.0 + 100 * 0.01)
    assert cost.whole == RecipeCost(seconds=cost.seconds(), seconds_per_epoch=cost.seconds_per_epoch, memory=2**30)
    head = make_plan("head_only", "MobileNet-0.25", class_names=["cat", "dog"], num_train=320, image_size=32)
    assert PlanCost(plan=head, images=images, start=7.0, per_step=(), per_image=0.01).seconds_per_epoch is None


def test_recipes_that_train_more_cost_more():
    """The head alone costs a fraction; the estimate says that nothing was measured."""
    costs = {recipe: estimate_cost(_plan(recipe), IMAGES) for recipe in RECIPES}
    assert costs["head_only"].seconds_per_epoch is None
    assert costs["head_only"].seconds < costs["fine_tune_all"].seconds / 3
    assert costs["head_only"].memory < costs["fine_tune_all"].memory < costs["retrain_all"].memory
    assert costs["fine_tune_all"].seconds < costs["retrain_all"].seconds
    assert not any(cost.measured for cost in costs.values())


@pytest.mark.parametrize(
    "more",
    [
        lambda plan, images: (with_budget(plan, 2), images),
        lambda plan, images: (plan, images | {"val": 2 * images["val"]}),
        lambda plan, images: (plan, images | {"test": 2 * images["test"]}),
        lambda plan, images: (replace(plan, network=plan.network.at(96)), images),
        lambda plan, images: (replace(plan, batch_size=2 * plan.batch_size), images),
        lambda plan, images: (replace(plan, refit=True), images),
        lambda plan, images: (with_batch_norm(plan, "train"), images),
        lambda plan, images: (_plan(backbone="MobileNet-0.5"), images),
    ],
    ids=["steps", "validation images", "test images", "pixels", "batch", "refit", "BatchNorm", "width"],
)
def test_more_of_anything_costs_more(more):
    """Each of these adds passes, values or weights."""
    plan = _plan()
    assert not plan.refit
    assert estimate_cost(*more(plan, IMAGES)).seconds > estimate_cost(plan, IMAGES).seconds


def test_frozen_stages_cost_less():
    """A step is cheaper where the early stages are frozen, and more so the more of them: no gradient reaches them."""
    plan = _plan()
    head, whole = plan.phases

    def epoch(trains):
        phase = replace(whole, trains=trains, learning_rate=dict.fromkeys(trains, 1e-4))
        return estimate_cost(replace(plan, phases=(head, phase)), IMAGES).seconds_per_epoch

    last_two, last, first = whole.trains[-3:], whole.trains[-2:], (whole.trains[0], "classifier")
    assert epoch(("classifier",)) < epoch(last) < epoch(last_two) < epoch(first) < epoch(whole.trains)


def test_steps_on_frozen_features_cost_next_to_nothing():
    """Without augmentation, a frozen backbone is passed once per image, and once more for each augmented view."""
    plan = _plan("head_only")
    steps = replace(plan.phases[0], solver="adamw", steps=100, learning_rate={"classifier": 1e-3})
    on_features = estimate_cost(replace(plan, phases=(steps,)), IMAGES)
    on_images = estimate_cost(replace(plan, phases=(replace(steps, augmented=True),)), IMAGES)
    with_views = estimate_cost(replace(plan, phases=(replace(steps, views=2),)), IMAGES)
    assert on_features.seconds < with_views.seconds < on_images.seconds
    assert on_features.memory < on_images.memory * 1.01


def test_the_memory_of_decoded_images_has_a_limit():
    """Of each split, as many are kept as fit into 2 GiB."""
    assert decoded_bytes({"train": 10, "val": 0, "test": 5}, 100) == 15 * 30_000
    assert decoded_bytes({"train": 10**7, "val": 0, "test": 10**7}, 100) == 2 * 2 * 2**30


def test_a_cost_from_an_earlier_plan_was_measured():
    """Earlier releases measured all costs, and their plans do not say so."""
    assert RecipeCost(seconds=1.0, seconds_per_epoch=None, memory=None).measured
