"""Fixtures that several tests share: scikit-learn's photos, and real datasets and weights if they are available."""

import os
import sys
import tempfile
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # parallel processes: one thread each, or they slow each other down
    for _threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_threads, "1")

import pytest
from PIL import Image

from strategies.networks.backbones import get_backbone
from strategies.networks.weights import BUNDLED, BUNDLED_BACKBONE, can_download, is_cached, weights_files
from strategies.plans.planning import FEW_IMAGES, VERY_FEW_IMAGES

TILE = 80
PLANNING = "strategies.plans.planning"
FEW = {"FEW_IMAGES": FEW_IMAGES, "VERY_FEW_IMAGES": VERY_FEW_IMAGES}
LONGEST = ("test_the_commands_run",)
# Tests of 15 seconds or more, most of it training. A second run with other weights leaves them out.
LONG = (
    *LONGEST,
    "test_a_race_replaces_the_guess",
    "test_the_python_examples_run",
    "test_all_four_recipes_are_carried_out_on_one_split",
    "test_the_rows_are_those_of_the_study",
    "test_a_variant_runs_the_recipe_with_another_batch_norm_policy",
    "test_an_export_agrees_with_the_model_on_photos",
    "test_an_export_takes_the_bands",
    "test_a_script_does_what_the_plan_says",
    "test_a_notebook_runs_from_start_to_end",
    "test_json_is_the_only_thing_on_stdout",
    "test_the_demo_trains_on_digits",
    "test_frozen_features_are_read_from_the_cache_the_second_time",
    "test_any_number_of_images_passes_in_parts",
    "test_out_is_a_new_file_whose_ending_says_the_format",
    "test_a_run_is_evaluated_on_other_images",
    "test_an_output_folder_must_be_new_and_nothing_else_is_touched",
    "test_the_report_gets_a_section_on_exports",
    "test_a_folder_that_is_no_run_is_refused",
    "test_a_network_is_converted_once_and_other_images_need_no_keras",
    "test_an_image_goes_through_a_network_once_in_a_process",
    "test_an_image_of_no_class_is_unsure_with_every_engine",
    "test_every_form_of_the_same_images_gets_the_same_measurements",
    "test_hostile_files_do_not_stop_the_advice",
    "test_images_are_augmented_and_resized_as_asked_or_the_option_is_refused",
    "test_images_of_every_form_get_the_same_answer",
    "test_the_command_prints_the_script",
    "test_the_model_is_converted_once_and_other_predictions_need_no_keras",
    "test_the_plan_flips_no_images_that_are_recognized_less_well_mirrored",
    "test_without_data_the_images_are_synthetic_and_the_result_says_so",
)
# Tests that have a command of their own, `pytest -m slow`, some with some of their parameters only. Most of them show
# on more what another test shows on less. Only they test work on a cluster, and networks
# that take long to build (`support.deep_are_slow`).
SLOW = (
    "test_200_images_are_enough_for_a_stable_score",
    "test_a_backend_without_gradients_solves_a_head_and_predicts",
    "test_a_converted_model_agrees_on_real_test_images",
    "test_a_download_gives_the_same_weights_as_the_file[ResNet50]",
    "test_a_notebook_runs_from_start_to_end[02_train]",
    "test_a_notebook_runs_from_start_to_end[03_compare]",
    "test_a_notebook_runs_from_start_to_end[04_evidence]",
    "test_a_notebook_runs_from_start_to_end[05_own_backbone]",
    "test_a_preset_in_a_folder_is_trained_and_used_afterwards",
    "test_a_race_of_all_recipes_on_real_images",
    "test_a_script_carries_out_the_other_recipes",
    "test_a_script_does_what_the_plan_says[fine_tune_all]",
    "test_a_script_reads_a_network_that_is_not_part_of_keras",
    "test_a_search_compares_recipes",
    "test_a_study_stops_and_continues_at_will",
    "test_a_type_checker_knows_the_type_of_every_public_name",
    "test_an_export_agrees_with_the_model_on_photos[hf]",
    "test_an_export_agrees_with_the_model_on_photos[keras]",
    "test_an_export_agrees_with_the_model_on_photos[litert-int8]",
    "test_an_export_agrees_with_the_model_on_photos[savedmodel]",
    "test_an_interrupted_run_continues_to_the_same_result[fine_tune_all-changes1-5]",
    "test_an_interrupted_run_continues_to_the_same_result[fine_tune_all-changes6-5]",
    "test_an_interrupted_run_continues_to_the_same_result[keep_early_layers-changes5-15]",
    "test_an_interrupted_run_continues_to_the_same_result[retrain_all-changes3-5]",
    "test_another_backend_gives_the_same_maps",
    "test_blur_and_noise_lower_the_score_step_by_step",
    "test_each_recipe_does_to_it_what_its_freeze_map_says[fine_tune_all-nested]",
    "test_each_recipe_does_to_it_what_its_freeze_map_says[fine_tune_all-transformer]",
    "test_each_recipe_does_to_it_what_its_freeze_map_says[fine_tune_all-unnamed]",
    "test_each_recipe_does_to_it_what_its_freeze_map_says[head_only-nested]",
    "test_each_recipe_does_to_it_what_its_freeze_map_says[head_only-transformer]",
    "test_each_recipe_does_to_it_what_its_freeze_map_says[keep_early_layers-nested]",
    "test_each_recipe_does_to_it_what_its_freeze_map_says[retrain_all-nested]",
    "test_each_recipe_does_to_it_what_its_freeze_map_says[retrain_all-unnamed]",
    "test_each_recipe_does_to_the_real_model_what_its_freeze_map_says[fine_tune_all-flowers5-network1]",
    "test_each_recipe_does_to_the_real_model_what_its_freeze_map_says[keep_early_layers-skin7-network2]",
    "test_each_recipe_does_to_the_real_model_what_its_freeze_map_says[keep_early_layers-skin7-network4]",
    "test_each_recipe_does_to_the_real_model_what_its_freeze_map_says[retrain_all-skin7-network3]",
    "test_enlarged_photos_score_lower",
    "test_every_recipe_builds_on_every_family_and_sets_what_its_freeze_map_says[EfficientNetB0]",
    "test_every_recipe_builds_on_every_family_and_sets_what_its_freeze_map_says[MobileNetV3Large-0.75]",
    "test_every_row_names_the_file_that_keras_asks_for[NASNetMobile]",
    "test_flowers_lie_between_imagenet_and_skin_at_every_calibrated_input_size[128]",
    "test_flowers_lie_between_imagenet_and_skin_at_every_calibrated_input_size[160]",
    "test_it_is_cross_validated_as_the_end_of_a_pipeline",
    "test_leaks_are_seen_without_being_told_the_groups[asl36-hand\\\\d+-True]",
    "test_maps_have_the_size_of_the_input[InceptionV3-75]",
    "test_memory_counts_the_images_that_are_kept_decoded",
    "test_on_real_images_a_small_network_learns_more_than_its_head",
    "test_openvino_gives_the_output_of_keras[MobileNetV3Small-0.75]",
    "test_races_stop_and_continue_at_will",
    "test_recipes_train_on_another_backend_and_twice_the_same",
    "test_settings_of_keras_and_folders_that_cannot_be_used_change_nothing",
    "test_shares_of_a_study_are_disjoint_and_complete",
    "test_the_checks_of_scikit_learn_pass",
    "test_the_folder_for_tensorflow_serving_answers_the_client",
    "test_the_head_alone_is_the_recipe_head_only[keep_early_layers]",
    "test_the_head_is_as_good_as_other_linear_heads_with_few_images_per_class[1]",
    "test_the_head_is_as_good_as_other_linear_heads_with_few_images_per_class[2]",
    "test_the_heat_lies_on_the_object[MobileNetV2-0.35]",
    "test_the_loop_with_batch_norm_held_keeps_the_pretrained_statistics",
    "test_the_page_answers_as_predict_does",
    "test_the_script_writes_a_file_that_the_package_reads",
    "test_tokens_are_pooled_in_one_way[options1-counted1]",
    "test_tokens_are_pooled_in_one_way[options2-counted2]",
    "test_two_devices_of_one_process_train_what_one_trains",
)
SLOW_FIXTURES = {"cluster"}
# Fixtures that train that long: each test that uses them may be the one that waits.
LONG_FIXTURES = {"runs", "comparison", "trained", "exported"}
(WEIGHTS,) = weights_files(get_backbone(BUNDLED_BACKBONE), [224])
STAND_IN = "ADVISOR_TEST_STAND_IN"  # set if the weights in Keras' cache are a copy of the bundled weights
REAL_WEIGHTS = is_cached(get_backbone(BUNDLED_BACKBONE)) and STAND_IN not in os.environ


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Gives the tests a cache of features of their own; they never use the user's."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ADVISOR_CACHE", str(tmp_path_factory.mktemp("cache")))
        environment.delenv("ADVISOR_CACHE_BYTES", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def short_trainings():
    """No number of images counts as few: smaller batches and a refit would multiply the time of every training.

    Tests of what few images change ask for `few_images`.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in FEW:
            patch.setattr(f"{PLANNING}.{name}", 0)
        yield


@pytest.fixture
def own_backbones():
    """Removes the backbones that a test adds."""
    from strategies.networks.backbones import BACKBONES

    before = dict(BACKBONES)
    yield
    BACKBONES.clear()
    BACKBONES.update(before)


@pytest.fixture
def few_images(monkeypatch):
    """The numbers of images that count as few, as they are outside the tests."""
    for name, number in FEW.items():
        monkeypatch.setattr(f"{PLANNING}.{name}", number)


@pytest.fixture(scope="session", autouse=True)
def small_default():
    """Where no backbone is named, a small one is used, also where the package of EfficientNet-Lite0 is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("strategies.networks.weights.DEFAULTS", ("MobileNetV2", "MobileNetV2-0.35"))
        yield


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A class folder: 20 tiles of each of scikit-learn's two photos, as PNG."""
    from sklearn.datasets import load_sample_image

    root = tmp_path_factory.mktemp("data") / "photos"
    for name in ("china", "flower"):
        (root / name).mkdir(parents=True)
        photo = Image.fromarray(load_sample_image(f"{name}.jpg"))
        for index in range(20):
            left, top = TILE * (index % 8), TILE * (index // 8)
            photo.crop((left, top, left + TILE, top + TILE)).save(root / name / f"{index:02}.png")
    return root


@pytest.fixture(scope="session")
def test_data():
    """The folder of real datasets from `ADVISOR_TEST_DATA`."""
    folder = os.environ.get("ADVISOR_TEST_DATA")
    if not folder:
        pytest.skip("ADVISOR_TEST_DATA does not name a folder of real datasets")
    return Path(folder)


def pytest_configure(config):
    """Uses the bundled weights instead of ImageNet weights that are not in Keras' cache."""
    config.addinivalue_line("markers", "weights: needs pretrained weights, from ImageNet or bundled")
    config.addinivalue_line("markers", "long: takes 15 seconds or more")
    config.addinivalue_line("markers", "slow: takes minutes, and has a command of its own: pytest -m slow")
    if not REAL_WEIGHTS and STAND_IN not in os.environ:
        home = Path(tempfile.mkdtemp(prefix="advisor-test-keras-"))
        (home / "models").mkdir()
        write_stand_in(home / "models" / WEIGHTS)
        os.environ |= {"KERAS_HOME": str(home), STAND_IN: "1"}  # parallel test processes inherit it


def write_stand_in(path):
    """Writes the bundled weights in the format of Keras' file for the same network."""
    import h5py
    import numpy as np

    from strategies.networks.pretrained import build_backbone

    network = build_backbone(get_backbone(BUNDLED_BACKBONE), image_size=224, weights=BUNDLED)
    layers = [layer for layer in network.layers if layer.weights]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{index}".encode() for index in range(len(layer.weights))]
            group.attrs["weight_names"] = names
            for name, weight in zip(names, layer.weights, strict=True):
                group[name.decode()] = np.asarray(weight)


def pytest_report_header():
    """Returns a line that names the weights and the images of this test run."""
    weights = "ImageNet, from Keras' cache" if REAL_WEIGHTS else "bundled"
    images = os.environ.get("ADVISOR_TEST_DATA") or "only those of scikit-learn (set ADVISOR_TEST_DATA for more)"
    return f"pretrained weights: {weights}; images: {images}"


def pytest_collection_modifyitems(items):
    """Marks tests that need pretrained weights, a long time or minutes: `pytest -m weights` runs only the first."""
    items.sort(key=lambda item: item.name not in LONGEST)  # first, so that no process has to wait at the end
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if {"pretrained_weights", "imagenet_weights"} & fixtures:
            item.add_marker("weights")
        names = {item.name, getattr(item, "originalname", item.name)}
        if names & {*SLOW} or SLOW_FIXTURES & fixtures:
            item.add_marker("slow")
        if names & {*LONG} or LONG_FIXTURES & fixtures or item.get_closest_marker("slow"):
            item.add_marker("long")


@pytest.fixture(scope="session")
def pretrained_weights():
    """Ensures that Keras' cache holds weights of MobileNetV2-0.35: ImageNet's, or the bundled ones under that name."""


@pytest.fixture(scope="session")
def imagenet_weights(pretrained_weights):
    """Skips a test whose expected numbers hold only for ImageNet weights, if those are not available."""
    if not REAL_WEIGHTS:
        pytest.skip(f"{WEIGHTS} is not in Keras' cache; KERAS_HOME sets its folder")


@pytest.fixture(scope="module")
def small_network():
    """Options of a plan for a small network, which is a backbone while the tests of a module run."""
    from networks import STAGES, small

    import strategies
    from strategies.networks.backbones import BACKBONES

    strategies.add_backbone("small", small(), stages=STAGES)
    yield {"backbone": "small", "weights": "own", "image_size": 32}
    del BACKBONES["small"]


@pytest.fixture(scope="session")
def small_run(photos, pretrained_weights, tmp_path_factory):
    """A run of `head_only` on the photos: `(folder, dataset, result)`; the dataset has the split of the run."""
    import strategies

    dataset = strategies.split_dataset(strategies.load_dataset(photos), seed=0)
    plan = strategies.make_plan(
        "head_only", "MobileNetV2-0.35", class_names=dataset.class_names, num_train=28, image_size=32
    )
    folder = tmp_path_factory.mktemp("small") / "run"
    return folder, dataset, strategies.train(plan, dataset, folder, cache=False)


@pytest.fixture
def advisor(monkeypatch, capsys):
    """A function that runs a command in this process and returns exit code, stdout and stderr."""
    from advisor import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["advisor", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty Keras cache, and no download. Yields the folder of the cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # no server listens there
    can_download.cache_clear()
    yield tmp_path / "keras" / "models"
    can_download.cache_clear()


@pytest.fixture
def check_freeze_map():
    """A function that compares every tensor of a model with its plan after a phase: frozen tensors are bit-equal.

    It returns the numbers of frozen and of changed tensors.
    """
    import numpy as np

    from strategies.networks.normalization import batch_norms
    from strategies.training.model import StagedModel

    def check(phase, model, before, plan):
        staged = StagedModel(plan=plan, model=model)
        rows, after, counts = {row.stage: row for row in plan.freeze_map}, staged.snapshot(), {True: 0, False: 0}
        for stage, names in staged.layers.items():
            cell = next(cell for cell in rows[stage].cells if cell.phase == phase.name)
            for layer in map(model.get_layer, names):
                held = {weight.path for norm in batch_norms(layer) for weight in norm.weights}
                assert len(held) == 4 * len(batch_norms(layer))
                for weight in layer.weights:
                    frozen = cell.state == "frozen" or (weight.path in held and cell.batch_norm == "inference")
                    if not phase.has_steps and weight.path == "classifier/bias":
                        assert not after[weight.path].any()  # the exact head has no bias
                        continue
                    same = np.array_equal(before[weight.path], after[weight.path])
                    assert same == frozen, f"{weight.path} in {phase.name}: {cell}"
                    counts[frozen] += 1
        return counts[True], counts[False]

    return check
