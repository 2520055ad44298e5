"""Every format, reloaded in a fresh process, is the model; what cannot be exported is said in a sentence."""

import importlib.util
import json
import re
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

import strategies
from advisor.report.files import write_report
from strategies.errors import ExportError, OutputError, PlanError, UnknownNameError
from strategies.runs import conversion, exporting, formats, runtimes
from strategies.runs.exporting import read_exports
from strategies.runs.formats import FORMATS
from strategies.runs.model_card import model_card
from strategies.runs.run_folder import read_run
from strategies.training.embedded import read_embedded

# Converters may change the order of additions. What the photos and flowers5 measured is below a tenth of this.
ROUNDING = 1e-4
LARGEST = {"keras": 0, "hf": 0, "savedmodel": 0, "litert-int8": 0.1}  # int8 rounds to 256 values


def _need(name):
    for module in FORMATS[name].packages:
        pytest.importorskip(module)


@pytest.fixture
def run_copy(small_run, tmp_path):
    """The small run in a folder of its own."""
    shutil.copytree(small_run[0], tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def same_process(monkeypatch):
    """Reloads in this process, where a test is about something else: Keras need not start again."""

    def reload(row, path, pixels):
        return runtimes.RUNTIMES[row.name](str(path))(pixels.astype("float32"))

    monkeypatch.setattr(exporting, "_reloaded", reload)


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_agrees_with_the_model_on_photos(name, run_copy, photos, small_run):
    """On the test images; Keras and SavedModel to the last bit, the converters but for rounding, int8 in the class."""
    _need(name)
    result = strategies.export(run_copy, name, data=photos)
    assert result.num_images >= 6
    assert result.top1_agreement == 1
    assert result.largest_difference <= LARGEST.get(name, ROUNDING)
    assert result.accuracy == result.model_accuracy == small_run[2].test.accuracy
    assert str(photos) in result.images
    folder = run_copy / "export" / name
    weights = ["model.bin"] if name == "openvino" else []
    assert sorted(path.name for path in folder.iterdir()) == sorted(["class_names.json", FORMATS[name].file, *weights])
    assert (folder / "class_names.json").read_bytes() == (run_copy / "class_names.json").read_bytes()
    assert json.loads((run_copy / "export" / f"{name}.json").read_text()) == result.to_dict()
    assert read_exports(run_copy) == [result]
    if name in ("keras", "litert", "litert-int8"):
        assert read_embedded(result.path)["class_names"] == list(small_run[2].plan.class_names)


@pytest.fixture(scope="module")
def flowers_run(test_data, imagenet_weights, tmp_path_factory):
    """`(folder, dataset)` of a network that was trained as a whole, with 300 test images of flowers5."""
    dataset = strategies.load_dataset(test_data / "flowers5")
    dataset = dataset.subset(np.random.default_rng(0).permutation(len(dataset))[:400])
    dataset = strategies.split_dataset(dataset, seed=0, test_fraction=0.75)
    plan = strategies.make_plan(
        "retrain_all", "MobileNetV2-0.35", class_names=dataset.class_names, num_train=40, image_size=96, budget=0.01
    )
    folder = tmp_path_factory.mktemp("flowers") / "run"
    strategies.train(plan, dataset, folder)
    return folder, dataset


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_a_converted_model_agrees_on_real_test_images(name, flowers_run):
    """The same class for 99.5% of them or more."""
    _need(name)
    folder, dataset = flowers_run
    result = strategies.export(folder, name, data=dataset)
    assert result.num_images > 290
    assert result.top1_agreement >= 0.995
    assert result.largest_difference <= ROUNDING


def test_layers_of_convnext_are_written_in_what_the_converters_know():
    """A convolution of one channel per group as a depthwise one, GELU by `erf`: the model computes the same."""
    image = keras.Input((16, 16, 3))
    maps = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    maps = keras.layers.Conv2D(8, 5, padding="same", groups=8, strides=2, name="grouped")(maps)
    maps = keras.layers.Activation("gelu")(maps)
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(maps))
    converted = conversion._convertible(model)
    assert isinstance(converted.get_layer("grouped"), keras.layers.DepthwiseConv2D)
    pixels = np.random.default_rng(0).random((4, 16, 16, 3), dtype="float32")
    np.testing.assert_allclose(converted(pixels), model(pixels), atol=1e-6)
    plain = keras.Sequential([image, keras.layers.Conv2D(8, 3), keras.layers.ReLU()])
    assert conversion._convertible(plain) is plain


def test_int8_is_calibrated_on_training_images(photos, small_network, tmp_path, same_process, advisor):
    """Whole numbers inside, float32 outside; without images it is refused."""
    _need("litert-int8")
    from ai_edge_litert.interpreter import Interpreter

    plan = strategies.make_plan("head_only", **small_network, class_names=["china", "flower"], num_train=28)
    strategies.train(plan, photos, tmp_path / "run", cache=False)
    command = ("export", tmp_path / "run", "--format", "litert-int8")
    code, out, err = advisor(*command, "--data", photos, "--json")
    assert code == 0, err
    assert "Calibrating on 28 training images" in err
    result = json.loads(out)["export"]
    assert result["top1_agreement"] == 1
    assert result["accuracy"] == result["model_accuracy"]
    assert result["images"].startswith("test images")
    interpreter = Interpreter(result["path"])
    interpreter.allocate_tensors()
    outside = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    indices = {tensor["index"] for tensor in outside}
    inside = [tensor for tensor in interpreter.get_tensor_details() if tensor["index"] not in indices]
    assert {tensor["dtype"] for tensor in outside} == {np.float32}
    assert {tensor["dtype"] for tensor in inside} <= {np.int8, np.int32}
    code, out, err = advisor(*command)
    assert (code, out) == (2, "")
    assert "--data" in err
    assert len(err.strip().splitlines()) == 1


def test_without_data_the_images_are_synthetic_and_the_result_says_so(run_copy, same_process, advisor):
    """The same for everyone, from a single color to noise."""
    code, out, err = advisor("export", run_copy, "--format", "keras", "--json")
    values = json.loads(out)["export"]
    assert code == 0, err
    assert "synthetic" in values["images"]
    assert values["num_images"] == exporting.NUM_SYNTHETIC
    assert values["accuracy"] is None
    pixels = exporting._synthetic_images(48).pixels
    assert np.array_equal(pixels, exporting._synthetic_images(48).pixels)
    deviations = pixels.std(axis=(1, 2)).mean(axis=1)
    assert deviations.min() == 0
    assert deviations.max() > 50


def test_the_report_gets_a_section_on_exports(run_copy, photos, same_process, advisor):
    """Once, however often the run is exported; results of another model are left out."""
    report = run_copy / "report.md"
    before = write_report(run_copy).read_text(encoding="utf-8")
    code, out, err = advisor("export", run_copy, "--format", "keras", "--data", photos)
    assert code == 0, err
    assert "100.00%" in out
    assert advisor("export", run_copy, "--format", "keras", "--overwrite")[0] == 0
    text = report.read_text(encoding="utf-8")
    assert text.startswith(before)
    assert text.count("# Export") == 1
    assert "synthetic" in text[len(before) :]
    assert "test images" not in text[len(before) :]
    model = strategies.read_run(run_copy).model
    model.set_weights([weight + 1 for weight in model.get_weights()])
    model.save(run_copy / "model.keras")
    assert write_report(run_copy).read_text(encoding="utf-8") == before


def test_an_output_folder_must_be_new_and_nothing_else_is_touched(run_copy, same_process, tmp_path):
    """`out` is the folder; what is in the way is left alone."""
    before = {path: path.read_bytes() for path in run_copy.iterdir()}
    out = tmp_path / "somewhere else"
    result = strategies.export(run_copy, "keras", out)
    assert result.path == str(out / "model.keras")
    assert {path: path.read_bytes() for path in run_copy.iterdir() if path.is_file()} == before
    with pytest.raises(OutputError, match="overwrite"):
        strategies.export(run_copy, "keras", out)
    (out / "mine.txt").write_text("mine")
    strategies.export(run_copy, "keras", out, overwrite=True)
    assert (out / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_a_missing_package_is_named_with_its_install_command(name, run_copy, advisor, monkeypatch):
    """Before anything is loaded or written."""
    missing = list(FORMATS[name].packages)[-1]
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == missing else find(module))
    code, out, err = advisor("export", run_copy, "--format", name)
    assert (code, out) == (2, "")
    assert f"pip install {FORMATS[name].packages[missing]}" in err
    assert len(err.strip().splitlines()) == 1
    assert not (run_copy / "export").exists()


def test_an_export_that_does_not_load_again_is_an_error_and_is_not_kept(run_copy, monkeypatch):
    """Nothing reaches the folder that was not checked; the runtime's own words are passed on."""
    _need("onnx")
    monkeypatch.setattr(exporting, "write_model", lambda run, row, path, calibration: path.write_bytes(b"no model"))
    with pytest.raises(ExportError, match=r"cannot run .*model\.onnx failed"):
        strategies.export(run_copy, "onnx")
    assert not (run_copy / "export").exists()


def test_other_formats_and_other_data_are_refused(run_copy, test_data):
    """An unknown format names the known ones; data of other classes is not what the run was trained on."""
    with pytest.raises(UnknownNameError, match="savedmodel"):
        strategies.export(run_copy, "tflite")
    with pytest.raises(PlanError, match="other classes"):
        strategies.export(run_copy, "keras", data=test_data / "flowers5")


def test_the_backend_is_looked_at_before_a_package_is_asked_for(run_copy, advisor, monkeypatch):
    """In one sentence, which says which backend to set."""
    monkeypatch.setattr(formats, "keras_backend", lambda: "jax")
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    code, _, err = advisor("export", run_copy, "--format", "onnx")
    assert (code, err.count("\n")) == (2, 1)
    assert "Expected tensorflow or torch as Keras' backend for the format 'onnx'. Received: 'jax'." in err
    assert "Set KERAS_BACKEND=tensorflow; " in err


def test_images_are_checked_with_the_split_that_they_have_in_the_run(run_copy, small_run, same_process, tmp_path):
    """Wherever they are now, and whatever split chance would give them in that order."""
    _, dataset, trained = small_run
    for index, (item, label) in enumerate(zip(dataset.items, dataset.labels, strict=True)):
        folder = tmp_path / "moved" / dataset.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(item, folder / f"{index * 7 % 40:02}.png")
    moved = strategies.load_dataset(tmp_path / "moved")
    chance = strategies.split_dataset(moved, seed=trained.plan.seed)
    result = strategies.export(run_copy, "keras", data=moved)
    assert result.num_images == dataset.split.count("test")
    assert result.accuracy == trained.test.accuracy
    tested = {item.read_bytes() for item, part in zip(dataset.items, dataset.split, strict=True) if part == "test"}
    assert tested != {item.read_bytes() for item, part in zip(moved.items, chance.split, strict=True) if part == "test"}


def test_the_model_file_says_its_classes_and_still_loads(run_copy, small_run, same_process):
    """So does the folder for the Hugging Face Hub, with the figures of the run in its model card."""
    names = list(small_run[2].plan.class_names)
    assert read_embedded(run_copy / "model.keras")["class_names"] == names
    result = strategies.export(run_copy, "hf")
    folder = run_copy / "export" / "hf" / "model"
    assert result.path == str(folder)
    assert json.loads((folder / "transfer_advisor.json").read_text(encoding="utf-8"))["class_names"] == names
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: keras\n")
    assert f"accuracy {small_run[2].test.accuracy:.1%}" in card
    (use,) = re.findall("```python\n(.*?)```", card, re.DOTALL)
    Image.fromarray(np.zeros((40, 30, 3), "uint8")).save(folder / "photo.jpg")
    use = (
        use.replace("hf://USER/NAME", str(folder)).replace('open("', f'open("{folder}/').replace("print(", "found = (")
    )
    found = {}
    exec(use, found)
    assert found["found"][0] in names


def test_a_name_of_a_class_cannot_end_its_list_in_the_card(run_copy):
    """It is data."""
    for path, key in ((run_copy / "plan.json", "class_names"), (run_copy / "class_names.json", "class_names")):
        values = json.loads(path.read_text())
        values[key] = ["```\n# Hello", *values[key][1:]]
        path.write_text(json.dumps(values))
    (run_copy / "metrics.json").unlink()
    card = model_card(read_run(run_copy), "x.json")
    assert card.count("```") == 4
    assert "no test metrics" in card
