"""Plans written as scripts: they run without this package, and do what the plan says."""

import ast
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import strategies
from strategies.data.decoding import decode_image
from strategies.data.resizing import with_resize
from strategies.data.value_range import with_range
from strategies.errors import PlanError
from strategies.files import write_json
from strategies.networks.backbones import BACKBONES
from strategies.plans import script as scripting
from strategies.plans.plan import STRENGTHS
from strategies.plans.planning import with_rates
from strategies.recipes import RECIPES
from strategies.training import head as classifier
from strategies.training.model import StagedModel

NAMES = tuple(BACKBONES)  # before other tests add models
NETWORK = "MobileNet-0.25"  # with random weights: the cheapest to train
SIZE, NUM_TRAIN = 96, 84
EXACT = ("fine_tune_all", "keep_early_layers", "retrain_all")
USUAL = ("head_only", "fine_tune_all")
# Runs scripts one after the other where this package cannot be imported.
DRIVER = """
import runpy, sys
sys.modules["advisor"] = sys.modules["strategies"] = None
_, photos, weights, *names = sys.argv
for name in names:
    print("#", name)
    sys.argv = ["train.py", photos, name + ".keras", *([] if name == "head_only" else [weights])]
    runpy.run_path(name + ".py")
"""


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """A class folder: 60 tiles of each of scikit-learn's two photos, of the size of the plans: nothing is resized."""
    from sklearn.datasets import load_sample_image

    root = tmp_path_factory.mktemp("tiles") / "photos"
    for name in ("china", "flower"):
        (root / name).mkdir(parents=True)
        photo = load_sample_image(f"{name}.jpg")
        for index in range(60):
            left, top = 54 * (index % 10), 55 * (index // 10)
            Image.fromarray(photo[top : top + SIZE, left : left + SIZE]).save(root / name / f"{index:02}.png")
    return root


@pytest.fixture(scope="module")
def weights(tiles, tmp_path_factory):
    """Random weights of the network whose BatchNorm knows the tiles: what comes out of it differs from tile to tile."""
    import keras

    network = keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    for layer in network.layers:
        layer.momentum = 0.0
    network(_pixels(tiles) / 127.5 - 1, training=True)
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    network.save_weights(path)
    return str(path)


@pytest.fixture(scope="module")
def plans(weights, pretrained_weights):
    """A short plan of each recipe; `fine_tune_all` was edited wherever a plan can be.

    Those with steps leave nothing to chance: every batch is all of the images, as they are.
    """
    names = ["china", "flower"]
    made = {
        recipe: strategies.make_plan(
            recipe, NETWORK, class_names=names, num_train=NUM_TRAIN, image_size=SIZE, weights=weights
        )
        for recipe in RECIPES
    }
    made["head_only"] = strategies.make_plan(
        "head_only", "MobileNetV2-0.35", class_names=names, num_train=NUM_TRAIN, image_size=SIZE
    )
    for recipe in EXACT:
        plan = made[recipe]
        phases = tuple(phase if not phase.has_steps else replace(phase, steps=3) for phase in plan.phases)
        plan = replace(plan, phases=phases, dropout=0.0, batch_size=NUM_TRAIN, augmentation={})
        made[recipe] = with_rates(plan, 0.03)  # a network that starts at random would blow rounding up
    head, whole = made["fine_tune_all"].phases
    rates = {stage: rate / 10 if stage == "stem" else rate for stage, rate in whole.learning_rate.items()}
    made["fine_tune_all"] = replace(
        made["fine_tune_all"],
        phases=(head, replace(whole, learning_rate=rates, solver="sgd", warmup=0.5)),
        class_weights={"china": 0.5, "flower": 1.5},
        metric="balanced_accuracy",
        label_smoothing=0.1,
    )
    return made


def _run_scripts(plans, tiles, weights, folder):
    """Returns `(printed, model)` of the script of each plan, run in a process without this package."""
    import keras

    for name, plan in plans.items():
        with pytest.MonkeyPatch.context() as patch:
            if plan.recipe in EXACT:
                patch.setattr(scripting, "STRENGTHS", (10.0,))
            (folder / f"{name}.py").write_text(strategies.write_script(plan), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tiles), weights, *plans],
        cwd=folder, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    texts = done.stdout.split("# ")[1:]
    return {text.split()[0]: (text, keras.models.load_model(folder / f"{text.split()[0]}.keras")) for text in texts}


@pytest.fixture(scope="module")
def runs(plans, tiles, weights, tmp_path_factory):
    """`(printed, model)` of the scripts of plans that differ most."""
    chosen = {recipe: plans[recipe] for recipe in USUAL}
    return _run_scripts(chosen, tiles, weights, tmp_path_factory.mktemp("scripts"))


def _pixels(folder):
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.glob("*/*.png"))]).astype("float32")


@pytest.mark.parametrize("recipe", USUAL)
def test_a_script_does_what_the_plan_says(recipe, plans, runs, tiles, monkeypatch):
    """The same freeze map and layers as `strategies.train`, as good a model, and the same where nothing is random."""
    _check_script(plans[recipe], *runs[recipe], tiles, monkeypatch)


@pytest.mark.parametrize(
    ("recipe", "precision"),
    [("retrain_all", "float32"), ("keep_early_layers", "float32"), ("keep_early_layers", "mixed_bfloat16")],
)
def test_a_script_carries_out_the_other_recipes(recipe, precision, plans, tiles, weights, tmp_path, monkeypatch):
    """It saves a model of float32, whatever the precision of the training."""
    plan = replace(plans[recipe], precision=precision)
    ((printed, model),) = _run_scripts({recipe: plan}, tiles, weights, tmp_path).values()
    _check_script(plan, printed, model, tiles, monkeypatch)


def _check_script(plan, printed, model, tiles, monkeypatch):
    import keras

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
    if plan.recipe in EXACT:
        monkeypatch.setattr(classifier, "STRENGTHS", (10.0,))
    result = strategies.train(plan, tiles, cache=False, baseline=False)
    trained = dict(re.findall(r"^(\w+): (\d+) weights trained", printed, re.MULTILINE))
    assert {phase: int(number) for phase, number in trained.items()} == result.num_trainable_by_phase
    assert [weight.path for weight in model.weights] == [weight.path for weight in result.model.weights]
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert f" on {result.test.num_images} images" in printed
    if plan.recipe in EXACT and plan.precision == "float32":
        keras.utils.set_random_seed(plan.seed)  # as `strategies.train` does
        start = strategies.build_model(plan).get_weights()
        moved = zip(model.weights, start, result.model.get_weights(), model.get_weights(), strict=True)
        for weight, first, ours, theirs in moved:
            far, apart = np.linalg.norm(ours - first), np.linalg.norm(theirs - ours)
            assert apart <= 0.2 * far + 1e-7, (weight.path, far, apart)
    pixels, truth = _pixels(tiles), np.repeat([0, 1], 60)
    ours, theirs = (
        (network.predict(pixels, verbose=0).argmax(axis=1) == truth).mean() for network in (result.model, model)
    )
    assert abs(theirs - ours) < 0.1


def test_a_script_reads_a_network_that_is_not_part_of_keras(advisor, tiles, tmp_path):
    """EfficientNet-Lite0 from a file: stages, layers and numbers of weights are those of the plan."""
    import keras

    plan = strategies.make_plan(
        "fine_tune_all",
        "EfficientNetLite0",
        class_names=["china", "flower"],
        num_train=NUM_TRAIN,
        image_size=32,
        weights="random",
        budget=0.002,
    )
    write_json(tmp_path / "plan.json", plan.to_dict())
    network = tmp_path / "network.keras"
    code, printed, said = advisor("script", tmp_path, "--network", network)
    assert (code, str(network) in said) == (0, True)
    (tmp_path / "lite.py").write_text(printed, encoding="utf-8")
    for options, sentence in (
        ([], r"Expected --network FILE"),
        (["--network", network], "exists already"),
        (["--network", tmp_path / "network.h5"], r"ends in \.keras"),
    ):
        code, printed, said = advisor("script", tmp_path, *options)
        assert (code, printed, bool(re.search(sentence, said))) == (2, "", True)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tiles), str(network), "lite"],
        cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    states = dict(re.findall(r"^whole_network (\w+) (frozen|trained|new)$", done.stdout, re.MULTILINE))
    assert tuple(states) == plan.built_stages
    assert set(states.values()) == {"trained", "new"}
    staged = StagedModel.build(plan)
    staged.start_phase(plan.phases[1])
    trained = dict(re.findall(r"^(\w+): (\d+) weights trained", done.stdout, re.MULTILINE))
    assert int(trained["whole_network"]) == sum(int(np.prod(w.shape)) for w in staged.model.trainable_weights)
    model = keras.models.load_model(tmp_path / "lite.keras")
    assert [weight.path for weight in model.weights] == [weight.path for weight in staged.model.weights]


def test_a_script_solves_the_head_exactly(runs, tiles):
    """Its head is scikit-learn's, for the strength of the regularization that the validation images choose."""
    import keras
    from sklearn.linear_model import LogisticRegression

    model = runs["head_only"][1]
    dataset = strategies.split_dataset(strategies.load_dataset(tiles), seed=0)
    features = keras.Model(model.input, model.get_layer("pool").output).predict(_pixels(tiles), verbose=0)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    train, val = (np.array(dataset.split) == part for part in ("train", "val"))
    heads = []
    for strength in STRENGTHS:
        head = LogisticRegression(C=strength, fit_intercept=False, tol=1e-8, max_iter=10_000)
        head.fit((features / length)[train], dataset.labels[train])
        chances = head.predict_proba((features / length)[val])[np.arange(val.sum()), dataset.labels[val]]
        heads.append((-np.log(chances).mean(), head.coef_[0] / length[train].mean()))
    kernel, bias = model.get_layer("classifier").get_weights()
    expected = min(heads, key=lambda pair: pair[0])[1]
    np.testing.assert_allclose(kernel[:, 1] - kernel[:, 0], expected, atol=0.01 * np.abs(expected).max())
    assert not bias.any()


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
                assert modules - {"os"} == {"sys", "pathlib", "keras", "numpy", "tensorflow"}


def test_a_script_of_many_classes_and_edits_is_short_too():
    """Where its lists would take too many lines, they take one line each."""
    names = [f"a class of number {index}" for index in range(60)]
    for name, weights, size in (("ConvNeXtTiny", "file.h5", 224), ("MobileNetV2", "imagenet", 96)):
        plan = strategies.make_plan(
            "fine_tune_all", name, class_names=names, num_train=900, images_per_class=[310, *59 * [10]],
            weights=weights, image_size=size,
        )  # fmt: skip
        head, whole = plan.phases
        edited = replace(plan, phases=(head, replace(whole, solver="sgd", optional=True)), label_smoothing=0.1)
        for written in (plan, edited):
            script = strategies.write_script(written)
            assert script.count("\n") <= 120
            ast.parse(script)


@pytest.mark.parametrize("augment", ["flip,shift", "flip", "shift", "color,randaugment", "none"])
def test_a_script_changes_images_as_the_plan_does(augment, tmp_path):
    """Each change of the plan, and no other. The pixels that come out are those of an image of the same size."""
    plan = strategies.make_plan("retrain_all", class_names="ab", num_train=100, image_size=96, augment=augment)
    script = strategies.write_script(plan)
    assert script.count("\n") <= 120
    ast.parse(script)
    assert ("random_flip_left_right" in script) == ("flip" in augment)
    assert ("random_crop" in script) == ("shift" in augment)
    assert ("random_saturation" in script) == ("color" in augment)
    assert ("RandAugment" in script) == ("randaugment" in augment)
    assert ("augmented" in script) == (augment != "none")
    if augment == "color,randaugment":
        import keras
        import tensorflow as tf

        names = {"tf": tf, "keras": keras, "SEED": 0, "SIZE": 96, "CLASSES": ["a", "b"]}
        exec(script[script.index("rand_augment =") : script.index("# The network")], names)
        file = tmp_path / "image.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype="uint8")).save(file)
        files = tf.data.Dataset.from_tensors((str(file), 1)).repeat(4)
        read = names["read"]
        plain, changed = (
            np.stack([image for image, _ in images])
            for images in (files.map(read), files.map(lambda *each: read(*each, augmented=True)))
        )
        assert changed.shape == plain.shape == (4, 96, 96, 3)
        assert (changed != plain).any()
        assert changed.max() < 256 * 1.2


@pytest.mark.parametrize(
    ("recipe", "resize"), [("retrain_all", "squeeze"), ("head_only", "crop"), ("head_only", "pad")]
)
def test_a_script_decodes_images_as_the_plan_says(recipe, resize, tmp_path):
    """It resizes images and scales 16-bit PNG files as the package does, and stops at a value beyond the range."""
    options = {"image_size": 96, "image_bits": 12, "resize": resize}
    plan = strategies.make_plan(recipe, class_names="ab", num_train=100, **options)
    script = strategies.write_script(plan)
    assert script.count("\n") <= 120
    assert max(map(len, script.splitlines())) <= 120
    read = script[script.index("def read(") : script.index("# The network")]
    import tensorflow as tf

    names = {"tf": tf, "SIZE": 96, "CLASSES": ["a", "b"]}
    exec(read, names)
    values = np.random.default_rng(0).integers(0, 4096, (101, 160), dtype="uint16")
    for name, factor in (("image.png", 1), ("bright.png", 16)):
        Image.fromarray(values * np.uint16(factor)).save(tmp_path / name)
    image, _ = names["read"](str(tmp_path / "image.png"), 0)
    (item,) = with_resize(with_range([tmp_path / "image.png"], 12), resize)
    assert np.abs(image.numpy() - decode_image(item, 96)).max() < 2  # both round
    with pytest.raises(tf.errors.InvalidArgumentError, match="values up to 4095"):
        names["read"](str(tmp_path / "bright.png"), 0)


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


def test_bands_have_no_script():
    """It would read RGB images; the sentence says what to do instead."""
    plan = strategies.make_plan("head_only", NETWORK, class_names=["a", "b"], num_train=80, channels=(4, 3, 2))
    with pytest.raises(PlanError, match=r"a plan for RGB images.*channels=\[4, 3, 2\].*strategies\.train"):
        strategies.write_script(plan)


def test_an_own_model_has_no_script():
    """A script could not build it; the sentence says what to do instead."""
    import keras

    inputs = keras.Input((32, 32, 3))
    edges = keras.layers.Conv2D(4, 3, name="edges")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="parts")(edges))
    strategies.add_backbone("script_test", model, stages={"early": "edges", "late": "parts"})
    try:
        plan = strategies.make_plan("head_only", "script_test", class_names=["a", "b"], num_train=80)
        with pytest.raises(PlanError, match=r"a model of your own.*strategies\.train"):
            strategies.write_script(plan)
    finally:
        del BACKBONES["script_test"]


def test_the_command_prints_the_script(advisor, small_run, tmp_path):
    """For a plan file or a run folder; stdout is the script and nothing else."""
    folder, _, result = small_run
    expected = strategies.write_script(result.plan)
    for path in (folder, folder / "plan.json"):
        code, printed, _ = advisor("script", path)
        assert (code, printed) == (0, expected)
    code, printed, errors = advisor("script", tmp_path)
    assert (code, printed) == (2, "")
    assert "(No such file or directory). Check the path." in errors
    code, printed, errors = advisor("script", folder, "--network", tmp_path / "network.keras")
    assert (code, printed) == (2, "")
    assert "Leave it out" in errors
