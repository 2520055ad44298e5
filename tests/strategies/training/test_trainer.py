"""The trainer: what it freezes, what it trains, what it keeps, on real images and a real pretrained network."""

import gc
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from strategies.data.dataset import SPLITS
from strategies.data.loading import load_dataset
from strategies.data.splits import split_dataset
from strategies.errors import DatasetError, OutputError, PlanError
from strategies.plans.planning import make_plan
from strategies.recipes import RECIPES
from strategies.training.model import StagedModel
from strategies.training.trainer import train

BACKBONE = "MobileNetV2-0.35"


def _plan(recipe, dataset, *, budget, backbone=BACKBONE, weights="imagenet", image_size=96, seed=0):
    return make_plan(
        recipe,
        backbone,
        class_names=dataset.class_names,
        num_train=100,
        image_size=image_size,
        weights=weights,
        seed=seed,
        budget=budget,
    )


LITE = {"backbone": "EfficientNetLite0", "image_size": 64}


def _take(dataset, num_images, seed=0):
    """A random subset in which every class has at least four images."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(dataset))
    first = [index for label in range(len(dataset.class_names)) for index in order[dataset.labels[order] == label][:4]]
    rest = [index for index in order if index not in set(first)]
    return dataset.subset(np.sort([*first, *rest[: num_images - len(first)]]))


@pytest.mark.parametrize(
    ("recipe", "name", "network"),
    [
        ("head_only", "flowers5", {}),
        ("fine_tune_all", "flowers5", {}),
        ("keep_early_layers", "skin7", {}),
        ("retrain_all", "skin7", {}),
        ("keep_early_layers", "skin7", LITE),
    ],
)
def test_each_recipe_does_to_the_real_model_what_its_freeze_map_says(
    recipe, name, network, test_data, imagenet_weights, check_freeze_map
):
    """Tensor by tensor at the end of each phase: removed is gone, frozen is bit-equal, trained has moved."""
    dataset = _take(load_dataset(test_data / name), 100)
    plan = _plan(recipe, dataset, budget=0.04, **network)
    rows = {row.stage: row for row in plan.freeze_map}
    seen = []

    def check(phase, model, before):
        seen.append(phase.name)
        layers = StagedModel(plan=plan, model=model).layers
        present = {layer.name for layer in model.layers}
        for stage in plan.stages:
            if rows[stage.name].origin == "removed":
                assert stage.last_layer not in present
                assert stage.name not in layers
        assert {name for names in layers.values() for name in names} <= present
        check_freeze_map(phase, model, before, plan)
        assert model.get_layer("classifier").units == len(dataset.class_names)

    result = train(plan, dataset, on_phase_end=check)
    assert seen == [phase.name for phase in plan.phases]
    assert result.model.output_shape == (None, len(dataset.class_names))
    assert result.best_phase in seen


def test_training_learns_and_its_metrics_are_those_of_the_model(test_data, imagenet_weights):
    """On flowers the exact head is far above the majority class, and the saved model says what the metrics say."""
    dataset = _take(load_dataset(test_data / "flowers5"), 300)
    result = train(_plan("head_only", dataset, budget=1), dataset)
    assert result.test.low > result.test.majority_accuracy + 0.2
    assert result.history["val_accuracy"].max() > 0.5


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_gives_the_same_result(recipe, photos, small_network):
    """Weights, history and metrics are equal to the last bit, without pretrained weights too."""
    dataset = load_dataset(photos)
    runs = [train(_plan(recipe, dataset, budget=0.002, **small_network), dataset) for _ in range(2)]
    for first, second in zip(runs[0].model.get_weights(), runs[1].model.get_weights(), strict=True):
        assert np.array_equal(first, second)
    columns = ["phase", "step", "loss", "accuracy", "val_loss", "val_accuracy"]
    pd.testing.assert_frame_equal(runs[0].history[columns], runs[1].history[columns])
    assert runs[0].test == runs[1].test


def test_a_phase_that_wrecks_the_model_does_not_cost_what_an_earlier_one_reached(photos, small_network):
    """The weights of the head come back, where there are validation images enough to tell."""
    dataset = load_dataset(photos)
    parts = (*("train",) * 6, *("val",) * 12, *("test",) * 2)
    dataset = replace(dataset, split=parts * 2)
    plan = _plan("fine_tune_all", dataset, budget=0.05, **small_network)
    wrecked = replace(plan.phases[1], learning_rate=dict.fromkeys(plan.phases[1].trains, 1e3))
    result = train(replace(plan, phases=(plan.phases[0], wrecked)), dataset)
    assert result.best_phase == "head"
    head = train(replace(plan, phases=plan.phases[:1]), dataset)
    for kept, solved in zip(result.model.get_weights(), head.model.get_weights(), strict=True):
        assert np.array_equal(kept, solved)


def test_features_from_the_cache_give_the_result_that_computing_them_gives(
    photos, capfd, tmp_path, monkeypatch, small_network
):
    """With the cache empty, full and off, weights and metrics are equal to the last bit."""
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path))
    plan = _plan("keep_early_layers", load_dataset(photos), budget=0.05, **small_network)
    plan = replace(plan, phases=plan.phases[:1])  # the one that trains on frozen features
    runs, said = [], []
    for cache in (True, True, False):
        runs.append(train(plan, photos, cache=cache))
        said.append(capfd.readouterr().err)
    assert "Kept features" in said[0]
    assert "Read features" in said[1]
    assert "cache" not in said[2]
    for run in runs[1:]:
        for first, second in zip(runs[0].model.get_weights(), run.model.get_weights(), strict=True):
            assert np.array_equal(first, second)
        assert run.test == runs[0].test


def test_augmented_views_add_to_what_the_head_is_fitted_on(photos, small_network):
    """The head differs, and depends on the seed alone."""
    dataset = load_dataset(photos)
    plan = _plan("head_only", dataset, budget=1, **small_network)
    seen = replace(plan, phases=(replace(plan.phases[0], views=3),))
    heads = [train(tried, dataset).model.get_layer("classifier").get_weights()[0] for tried in (plan, seen, seen)]
    assert not np.array_equal(heads[0], heads[1])
    assert np.array_equal(heads[1], heads[2])


def test_a_linear_classifier_can_stand_on_an_early_stage(photos, small_network):
    """A plan that is edited so has no stage after the cut: the features there are all that is needed."""
    dataset = load_dataset(photos)
    plan = _plan("keep_early_layers", dataset, budget=1, **small_network)
    plan = replace(plan, rebuilt_stages=(), phases=plan.phases[:1])
    result = train(plan, dataset)
    stages = [stage.name for stage in plan.stages]
    later = plan.stages[stages.index(plan.cut_stage) + 1].last_layer
    assert later not in {layer.name for layer in result.model.layers}
    assert result.test.accuracy > 0.5


class _Epochs(keras.callbacks.Callback):
    """Writes down the number of each epoch and the names of what is logged."""

    def __init__(self):
        super().__init__()
        self.numbers, self.names = [], set()

    def on_epoch_end(self, epoch, logs=None):
        self.numbers.append(epoch)
        self.names |= set(logs)


def test_callbacks_see_one_course_of_training(photos, tmp_path, small_network):
    """Epochs are counted through all phases, so TensorBoard draws one curve."""
    epochs = _Epochs()
    plan = _plan("keep_early_layers", load_dataset(photos), budget=0.05, **small_network)
    train(plan, photos, callbacks=[epochs, keras.callbacks.TensorBoard(tmp_path / "logs")])
    assert epochs.numbers == list(range(len(epochs.numbers)))
    assert {"loss", "val_accuracy", "val_balanced_accuracy"} <= epochs.names
    assert list((tmp_path / "logs" / "validation").iterdir())


def test_an_own_optimizer_trains_every_phase_that_has_steps(photos, small_network):
    """With a rate of next to nothing, nothing moves; a solved head needs none; the instance itself is never used."""
    own, moved = keras.optimizers.SGD(1e-12), []
    plan = _plan("retrain_all", load_dataset(photos), budget=0.05, **small_network)

    def measure(phase, model, before):
        if not phase.has_steps:
            return
        trained = {weight.path for weight in model.trainable_weights}
        after = StagedModel(plan=plan, model=model).snapshot()
        moved.append(max(np.abs(after[path] - before[path]).max() for path in trained))

    train(plan, photos, optimizer=own, on_phase_end=measure)
    assert len(moved) == 1
    assert moved[0] < 1e-6
    assert not own.built


def test_sgd_and_label_smoothing_are_obeyed(photos, small_network):
    """The loss of a fit that is sure of itself is higher with smoothed labels."""
    dataset = load_dataset(photos)
    plan = _plan("retrain_all", dataset, budget=1, **small_network)
    last = plan.phases[1]
    phases = (plan.phases[0], replace(last, solver="sgd", learning_rate=dict.fromkeys(last.trains, 0.01)))
    losses = [
        train(replace(plan, phases=phases, label_smoothing=smoothing), dataset).history["loss"].iloc[-1]
        for smoothing in (0.0, 0.2)
    ]
    assert losses[0] < 0.2 < losses[1]


def test_an_imbalanced_dataset_is_weighted_and_judged_by_balanced_accuracy(photos, small_network):
    """A class that counts a hundred times more is answered more often."""
    dataset = load_dataset(photos)
    dataset = dataset.subset([*range(20), *range(20, 26)])
    plan = make_plan(
        "head_only", class_names=dataset.class_names, num_train=26, images_per_class=[20, 6], **small_network
    )  # fmt: skip
    assert plan.metric == "balanced_accuracy"
    assert plan.class_weights["flower"] > 1 > plan.class_weights["china"]
    answers = []
    for weight in (0.01, 100.0):
        result = train(replace(plan, class_weights={"china": 1.0, "flower": weight}), dataset)
        answers.append(np.array(result.test.confusion)[:, 1].sum())
    assert answers[0] < answers[1]


def test_mixed_precision_trains_and_gives_a_plain_model(photos, small_network):
    """The model that comes out computes in float32 and says what was measured."""
    dataset = load_dataset(photos)
    plan = replace(_plan("retrain_all", dataset, budget=0.05, **small_network), precision="mixed_bfloat16")
    result = train(plan, dataset)
    assert result.versions["precision"] == "mixed_bfloat16"
    assert {layer.dtype_policy.name for layer in result.model.layers} == {"float32"}
    assert keras.mixed_precision.dtype_policy().name == "float32"
    assert all(weight.dtype == "float32" for weight in result.model.weights)


def test_without_validation_images_the_plan_is_carried_out_to_its_end(small_network):
    """Training accuracy decides nothing; the optional phase, which only validation can justify, is not kept."""
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 256, (4, 32, 32, 3), dtype="uint8"), ["a", "a", "b", "b"]
    dataset = load_dataset((x, y))
    for recipe, last in (("fine_tune_all", "whole_network"), ("keep_early_layers", "later_layers")):
        plan = _plan(recipe, dataset, budget=0.002, **small_network)
        result = train(plan, dataset)
        assert result.history["val_accuracy"].isna().all()
        assert result.best_phase == last
        assert result.best_step == next(phase.steps for phase in plan.phases if phase.name == last)


def test_a_phase_ends_at_the_share_of_its_change_that_the_plan_keeps(photos, small_network):
    """Half the way is the middle between start and end, for weights and statistics; what is frozen stays."""
    dataset = load_dataset(photos)
    plan = _plan("keep_early_layers", dataset, budget=0.002, **small_network)
    ends = []
    for blend in (1.0, 0.5):
        phases = (plan.phases[0], replace(plan.phases[1], blend=blend))

        def end(phase, model, before):
            if phase.name == "later_layers":
                ends.append((before, StagedModel(plan=plan, model=model).snapshot()))

        train(replace(plan, phases=phases), dataset, on_phase_end=end)
    (start, whole), (_, half) = ends
    assert any(not np.array_equal(start[path], whole[path]) for path in start)
    for path, value in half.items():
        np.testing.assert_allclose(value, (start[path] + whole[path]) / 2, atol=1e-6)


def test_a_refit_trains_what_was_kept_on_all_images(photos, small_network):
    """The same phases from the same start, on training and validation images; harm is not repeated."""
    dataset = load_dataset(photos)
    plan = replace(_plan("fine_tune_all", dataset, budget=0.002, **small_network), refit=True)
    result = train(plan, dataset, baseline=False)
    assert result.history["phase"].unique().tolist() == ["head", "whole_network", "refit_head", "refit_whole_network"]
    refitted = result.history["phase"].str.startswith("refit_")
    assert (result.history["val_accuracy"].isna() == refitted).all()
    assert result.best_phase == "whole_network"
    assert result.plan == plan


def test_the_head_of_a_refit_is_that_of_all_images(photos, small_network):
    """To the last bit; its temperature comes from the head that did not see the validation images."""
    dataset = split_dataset(load_dataset(photos), seed=0)
    order = np.argsort([SPLITS.index(part) for part in dataset.split], kind="stable")
    dataset = dataset.subset(order)
    plan = _plan("head_only", dataset, budget=1, **small_network)
    merged = replace(dataset, split=tuple("train" if part == "val" else part for part in dataset.split))
    first, refit, direct = (
        train(replace(plan, refit=refit), images, cache=False)
        for refit, images in ((False, dataset), (True, dataset), (False, merged))
    )
    heads = [result.model.get_layer("classifier").get_weights()[0] for result in (first, refit, direct)]
    assert np.array_equal(heads[1], heads[2])
    assert not np.array_equal(heads[0], heads[1])
    assert refit.test.calibration.temperature == first.test.calibration.temperature
    assert direct.test.calibration.temperature is None


def test_lower_stages_learn_at_the_rate_that_the_plan_gives_them(photos, small_network):
    """With a rate a million times lower, the stem moves a thousand times less; it still moves."""
    dataset = load_dataset(photos)
    plan = _plan("fine_tune_all", dataset, budget=0.002, **small_network)
    rates = dict.fromkeys(plan.phases[1].trains, 1e-3) | {"stem": 1e-9}
    moved = {}

    def measure(phase, model, before):
        staged = StagedModel(plan=plan, model=model)
        after = staged.snapshot()
        for stage, names in staged.layers.items():
            changes = [
                np.abs(after[weight.path] - before[weight.path]).max()
                for name in names
                for weight in model.get_layer(name).trainable_weights
            ]
            moved[stage] = max(changes, default=0)

    phase = replace(plan.phases[1], learning_rate=rates, weight_decay=0.0)
    train(replace(plan, phases=(plan.phases[0], phase)), dataset, on_phase_end=measure)
    assert 0 < moved["stem"] < moved["middle"] / 1000


def test_a_network_without_batch_norm_trains_too(photos):
    """The recipe that trains BatchNorm finds none."""
    dataset = load_dataset(photos)
    plan = make_plan(
        "retrain_all", "VGG16", class_names=dataset.class_names, num_train=20, image_size=32, weights="random",
        budget=0.001,
    )  # fmt: skip
    assert train(plan, dataset).test.num_images > 0


def test_a_plan_for_other_classes_is_refused_before_anything_is_built(photos):
    """The sentence names what differs."""
    plan = make_plan("head_only", BACKBONE, class_names=["cat", "dog"], num_train=20, weights="random", image_size=32)
    with pytest.raises(PlanError, match="other classes"):
        train(plan, photos)


def test_an_output_folder_that_holds_files_is_refused(photos, tmp_path, small_network):
    """What an earlier run wrote is not overwritten unless the user says so."""
    (tmp_path / "notes.txt").write_text("mine")
    plan = _plan("head_only", load_dataset(photos), budget=1, **small_network)
    with pytest.raises(OutputError, match="--overwrite"):
        train(plan, photos, tmp_path)
    train(plan, photos, tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_too_few_images_for_a_test_split_is_an_error(small_network):
    """Two images per class leave nothing to validate on, but one of each to test."""
    x = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    dataset = load_dataset((x, ["a", "a", "b", "b"]))
    plan = _plan("head_only", dataset, budget=1, **small_network)
    assert train(plan, dataset).test.num_images == 2
    with pytest.raises(DatasetError):
        train(plan, (x[:2], ["a", "b"]))


def test_a_process_that_trains_many_times_stays_small(photos, small_network):
    """Once the first training is over, another leaves no object behind: neither its images nor its traced steps."""
    dataset = load_dataset(photos)
    plan = _plan("fine_tune_all", dataset, budget=0.002, **small_network)
    plan, counts = replace(plan, phases=plan.phases[1:]), []
    for _ in range(3):
        train(plan, dataset, cache=False, baseline=False)
        gc.collect()
        counts.append(len(gc.get_objects()))
    assert counts[2] < counts[1] + 1000  # a traced step has some twenty thousand


def test_training_sees_images_as_the_plan_resizes_them():
    """The center of wide images gives the same weights as images that are this center."""
    wide = np.random.default_rng(0).integers(0, 256, (24, 32, 50, 3), dtype="uint8")
    options = {"class_names": ["a", "b"], "num_train": 16, "image_size": 32, "weights": "random"}
    kernels = []
    for images, resize in ((wide, "crop"), (wide[:, :, 9:41], "squeeze")):
        plan = make_plan("head_only", "MobileNet-0.25", resize=resize, **options)
        model = train(plan, (images, ["a", "b"] * 12), baseline=False, cache=False).model
        kernels.append(model.get_layer("classifier").get_weights()[0])
    assert np.array_equal(*kernels)
