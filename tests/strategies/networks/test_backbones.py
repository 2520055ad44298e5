"""Every row is built, cut and loaded, and compared with the plain Keras network that it describes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from support import deep_are_slow

from strategies.errors import UnknownNameError, UserError, WeightsError
from strategies.networks.backbones import BACKBONES, OUTPUT, Backbone, get_backbone, stages_at
from strategies.networks.pretrained import build_backbone, stage_layers

NO_STAGE = (keras.layers.InputLayer, keras.layers.Rescaling, keras.layers.Normalization)
# The networks of Keras; the others have tests of their own.
KERAS_ROWS = {name: row for name, row in BACKBONES.items() if not row.package}
# One row of each constructor, the first.
FIRST_ROWS = list({row.constructor: name for name, row in reversed(KERAS_ROWS.items())}.values())[::-1]
# One row of each paper and way of scaling: the larger ones have more of the same blocks.
FAMILIES = list({(row.source, row.preprocessing): name for name, row in reversed(KERAS_ROWS.items())}.values())[::-1]
# Where Keras keeps the `preprocess_input` of each way of scaling outside the network.
PREPROCESS_INPUT = {
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "ResNet50": "resnet",
    "ResNet50V2": "resnet_v2",
    "DenseNet121": "densenet",
    "Xception": "xception",
    "InceptionV3": "inception_v3",
    "NASNetMobile": "nasnet",
    "VGG16": "vgg16",
}


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No test uses the user's cache or the internet, unless it needs real weights."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    fetch(monkeypatch, None)
    return tmp_path / "models"


def fetch(monkeypatch: pytest.MonkeyPatch, path: Path | None) -> list[str]:
    """Replaces Keras' download by the file at `path` (`None`: by a failure). Returns the list of requested names."""
    asked: list[str] = []

    def get_file(name: str, origin: str, **_: object) -> str:
        asked.append(name)
        if path is None:
            raise Exception(f"URL fetch failure on {origin}: None -- no network")
        return str(path)

    # All of keras.applications downloads with this function of a private module.
    monkeypatch.setattr(importlib.import_module("keras.src.utils.file_utils"), "get_file", get_file)
    monkeypatch.setattr("strategies.networks.pretrained.can_download", lambda: True)
    return asked


def plain_keras(row: Backbone, size: int, weights: str | None) -> keras.Model:
    """The network as Keras builds it, with its own preprocessing."""
    arguments = {key: value for key, value in row.arguments.items() if key != "include_preprocessing"}
    constructor = getattr(keras.applications, row.constructor)
    return constructor(include_top=False, weights=weights, input_shape=(size, size, 3), **arguments)


def preprocess(row: Backbone, pixels: np.ndarray) -> np.ndarray:
    """Prepares pixels for the plain network as Keras' `preprocess_input` does."""
    module = PREPROCESS_INPUT.get(row.constructor)
    return getattr(keras.applications, module).preprocess_input(pixels.copy()) if module else pixels


def some_pixels(size: int) -> np.ndarray:
    """Two images of noise with different channels."""
    return np.random.default_rng(0).uniform((0, 50, 100), (100, 200, 255), (2, size, size, 3)).astype("float32")


def shaken(model: keras.Model) -> keras.Model:
    """Moves biases, scales and statistics away from their initial 0 and 1."""
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.uniform(0, 0.1, w.shape) if w.ndim == 1 else w for w in model.get_weights()])
    return model


def outputs_at(model: keras.Model, layers: list[str], inputs: np.ndarray) -> list[np.ndarray]:
    """Returns the outputs of the named layers and of the model."""
    outputs = [*(model.get_layer(name).output for name in layers), model.output]
    return [np.asarray(output) for output in keras.Model(model.input, outputs)(inputs, training=False)]


def assert_close(values: np.ndarray, expected: np.ndarray) -> None:
    """Checks that both are equal except for rounding."""
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module", params=deep_are_slow(FAMILIES))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A file of random weights of a plain Keras network, the model built with it, and its output for some pixels."""
    row = BACKBONES[request.param]
    size = max(64, row.min_image_size)
    path = tmp_path_factory.mktemp("weights") / f"{row.constructor}.weights.h5"
    shaken(plain_keras(row, size, None)).save_weights(path)
    model = build_backbone(row, image_size=size, weights=str(path))
    ends = {stage.name: stage.last_layer for stage in row.stages}
    pixels = some_pixels(size)
    early, cut, last = outputs_at(model, [row.stages[0].last_layer, ends[row.default_cut]], pixels)
    yield SimpleNamespace(row=row, size=size, path=path, model=model, pixels=pixels, early=early, cut=cut, last=last)
    keras.utils.clear_session()


@pytest.mark.parametrize("name", deep_are_slow(BACKBONES))
def test_every_row_matches_its_network(name: str) -> None:
    """The ends of stages exist, every layer has a stage, and the columns of the row match the network."""
    row = BACKBONES[name]
    stages = [stage for stage in row.stages if not stage.dense]
    # Twice in one process, since names with numbers differ from build to build.
    for _ in range(2 if name in FIRST_ROWS else 1):
        model = build_backbone(row, image_size=row.min_image_size, weights="random")
        found = stage_layers(model, row)
        assert [names[-1] for names in found.values()] == [stage.last_layer for stage in stages]

    assert row.name == name
    assert row.source
    assert list(found) == [stage.name for stage in stages]
    assert 5 <= len(stages) <= 7
    assert row.default_cut in list(found)[:-2]
    owned = [layer for names in found.values() for layer in names]
    assert len(set(owned)) == len(owned)
    assert {layer.name for layer in model.layers if not isinstance(layer, NO_STAGE)} == set(owned)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers) is row.has_batch_norm
    assert model.name == name
    assert model.count_params() == row.parameters
    assert row.top1 is not None
    assert model.input_shape == (None, row.min_image_size, row.min_image_size, 3)


@pytest.mark.parametrize("name", deep_are_slow(KERAS_ROWS))
def test_every_row_names_the_file_that_keras_asks_for(
    name: str, monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    """Without cache and internet, the error names the address, the file and the folder that Keras would use."""
    row, asked = BACKBONES[name], fetch(monkeypatch, None)
    with pytest.raises(WeightsError, match=r"URL fetch failure on https://.*Put .* into .*--weights PATH") as error:
        build_backbone(row, image_size=row.min_image_size)
    assert asked == [row.weights_file.format(size=row.image_size, top="_notop")]
    assert f"{asked[0]} into {empty_cache}" in str(error.value)


@pytest.mark.parametrize("name", FIRST_ROWS)
def test_too_small_images_are_refused_where_keras_refuses_them(name: str) -> None:
    """`min_image_size` is the smallest size that the constructor accepts."""
    row = BACKBONES[name]
    size = row.min_image_size - 1
    with pytest.raises(ValueError, match=r"[Ii]nput size must be at least"):
        plain_keras(row, size, None)
    with pytest.raises(UserError, match=f"at least {row.min_image_size} px. Received: image_size={size}"):
        build_backbone(row, image_size=size, weights="random")


@pytest.mark.filterwarnings("ignore:.input_shape. is undefined or non-square")
def test_a_built_model_is_keras_network_on_preprocessed_pixels(
    family: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a weights file, the output for pixels is that of Keras' weights="imagenet" after `preprocess_input`."""
    fetch(monkeypatch, family.path)
    plain = plain_keras(family.row, family.size, "imagenet")
    stem = family.row.stages[0].last_layer
    # In the plain network, the stem of ConvNeXt is a nested model.
    stem = "convnext_tiny_stem" if family.row.name == "ConvNeXtTiny" else stem
    # At an early layer, where wrong scaling or channel order still shows; later random layers hide it.
    early, last = outputs_at(plain, [stem], preprocess(family.row, family.pixels))
    assert_close(family.early, early)
    assert_close(family.last, last)
    changed = family.pixels[..., ::-1] * 1.01
    assert np.abs(outputs_at(plain, [stem], changed)[0] - early).max() > 0.01 * np.abs(early).max()


@pytest.mark.parametrize("family", ["EfficientNetB0", "ConvNeXtTiny", "ResNet50"], indirect=True, scope="module")
def test_a_download_gives_the_same_weights_as_the_file(
    family: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Downloaded at the backbone's own size or given as a path, at any input size: the same weights."""
    fetch(monkeypatch, family.path)
    model = build_backbone(family.row, image_size=family.size, weights="imagenet")
    for weight, expected in zip(model.get_weights(), family.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    # Also the outputs of the first layers, which scale the pixels: Normalization computes values from its weights.
    assert_close(outputs_at(model, [family.row.stages[0].last_layer], family.pixels)[0], family.early)
    assert capsys.readouterr().out == ""


def test_a_built_model_is_the_same_after_saving_and_loading(family: SimpleNamespace, tmp_path: Path) -> None:
    """A .keras file loads in safe mode without custom objects, with the same outputs and stages."""
    family.model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert_close(reloaded(family.pixels, training=False), family.last)
    assert stage_layers(reloaded, family.row) == stage_layers(family.model, family.row)


def test_a_cut_model_with_layers_on_top_keeps_its_stages(family: SimpleNamespace) -> None:
    """Layers on top of a cut or a whole model belong to no stage. The stages below do not change."""
    row = family.row
    whole = {stage: len(names) for stage, names in stage_layers(family.model, row).items()}
    kept = list(whole)[: list(whole).index(row.default_cut) + 1]
    cut = build_backbone(row, image_size=family.size, weights=str(family.path), last_stage=row.default_cut)
    for model, stages in ((cut, kept), (family.model, list(whole))):
        pooled = keras.layers.GlobalAveragePooling2D()(model.output)
        topped = keras.Model(model.input, keras.layers.Dense(3, name="classifier")(pooled))
        found = stage_layers(topped, row)
        assert {stage: len(names) for stage, names in found.items()} == {stage: whole[stage] for stage in stages}
        assert "classifier" not in {name for names in found.values() for name in names}
    assert_close(cut(family.pixels, training=False), family.cut)


def test_widths_of_a_family_share_their_stages() -> None:
    """All widths have the same stages; the width 1.0 has the plain name."""
    assert BACKBONES["MobileNetV2-0.35"].stages == BACKBONES["MobileNetV2"].stages
    assert get_backbone("MobileNetV2-1.0") is BACKBONES["MobileNetV2"]
    assert get_backbone("MobileNetV2-0.35").arguments == {"alpha": 0.35}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MobileNetV2-0.36", "MobileNetV2-0.35"),
        ("mobilenetv2", "MobileNetV2"),
        ("vgg16", "VGG16"),
        ("ResNet-50", "ResNet50"),
        ("EfficientNet-B0", "EfficientNetB0"),
        ("VGG16-1.0", "VGG16"),
        ("MobileNetV2-0.35-1.0", "MobileNetV2-0.35"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, meant: str) -> None:
    """A misspelled name, also in another case, is refused with a suggestion."""
    with pytest.raises(UnknownNameError, match=f"Unknown backbone '{name}'. Did you mean '{meant}'"):
        get_backbone(name)


def test_an_unknown_stage_is_answered_with_the_nearest() -> None:
    """`last_stage` must be a stage that the backbone has at that size."""
    with pytest.raises(UnknownNameError, match=r"Unknown stage of MobileNetV2-0.35 'stage9'. Did you mean"):
        build_backbone(get_backbone("MobileNetV2-0.35"), image_size=32, weights="random", last_stage="stage9")
    with pytest.raises(UnknownNameError, match=r"Unknown stage of VGG16 'fc'"):
        build_backbone(get_backbone("VGG16"), weights="random", last_stage="fc")


def test_the_stages_of_another_network_are_not_found() -> None:
    """`stage_layers` names the layer that is missing."""
    model = build_backbone(get_backbone("MobileNet-0.25"), image_size=32, weights="random")
    with pytest.raises(UserError, match=r"Expected a model built on VGG16. Received: 'MobileNet-0.25'"):
        stage_layers(model, get_backbone("VGG16"))


def test_dense_layers_exist_at_the_backbones_own_size_only() -> None:
    """VGG16 has its fully connected stage at 224 px. At other sizes and for other backbones it is refused."""
    row = get_backbone("VGG16")
    assert [stage.name for stage in stages_at(row, 128)] == ["block1", "block2", "block3", "block4", "block5"]
    assert stages_at(row, 224)[-1].dense
    for backbone, size in ((row, 128), (get_backbone("MobileNet-0.25"), 224)):
        with pytest.raises(UserError, match=f"dense=True for {backbone.name} at {size} px"):
            build_backbone(backbone, image_size=size, weights="random", dense=True)
    model = build_backbone(row, weights="random", dense=True)
    assert model.output_shape == (None, 4096)
    assert stage_layers(model, row)["fc"] == ("flatten", "fc1", "fc2")
    keras.utils.clear_session()


def test_a_network_without_a_stable_name_for_its_end_gets_one() -> None:
    """The added layer does not change the output."""
    model = build_backbone(get_backbone("MobileNetV3Small-0.75"), image_size=32, weights="random")
    end = model.get_layer(OUTPUT)
    assert not end.weights
    assert model.output_names == [OUTPUT]


def test_only_rows_that_need_it_touch_the_first_kernel() -> None:
    """Random weights are not changed, since they were not trained on another order of channels."""
    keras.utils.set_random_seed(0)
    model = build_backbone(get_backbone("ResNet50"), image_size=32, weights="random", last_stage="stem")
    keras.utils.set_random_seed(0)
    plain = plain_keras(get_backbone("ResNet50"), 32, None)
    np.testing.assert_array_equal(*(built.get_layer("conv1_conv").get_weights()[0] for built in (model, plain)))


@pytest.fixture
def sized_files(empty_cache: Path) -> dict[int, Path]:
    """Two different files of MobileNetV2-0.35, as Keras would cache them for 128 and 224 px."""
    row = get_backbone("MobileNetV2-0.35")
    files = {size: empty_cache / row.weights_file.format(size=size) for size in (128, 224)}
    for size, path in files.items():
        keras.utils.set_random_seed(size)
        shaken(plain_keras(row, size, None)).save(path)
    return files


def test_the_file_for_224_px_is_used_if_there_is_none_for_the_size(sized_files: dict[int, Path]) -> None:
    """At 128 px, the file for 128 px comes first, then the one for 224 px. `weights_size` overrides this."""
    row = get_backbone("MobileNetV2-0.35")

    def first(**arguments: int) -> np.ndarray:
        return build_backbone(row, last_stage="stem", **arguments).get_weights()[0]

    native, small = first(image_size=224), first(image_size=128)
    assert not np.array_equal(native, small)
    np.testing.assert_array_equal(first(image_size=128, weights_size=224), native)
    np.testing.assert_array_equal(first(image_size=100), native)
    sized_files[128].unlink()
    np.testing.assert_array_equal(first(image_size=128), native)
    with pytest.raises(WeightsError, match=r"128_no_top.h5 into"):
        first(image_size=224, weights_size=128)
    with pytest.raises(UserError, match=r"96, 128, 160, 192, 224 px. Received: weights_size=100"):
        first(image_size=128, weights_size=100)


def test_both_sizes_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """First the file for the size, then the one for 224 px. The error names the latter, which fits every size."""
    asked = fetch(monkeypatch, None)
    with pytest.raises(WeightsError, match=r"Put mobilenet_2_5_224_tf_no_top.h5 into"):
        build_backbone(get_backbone("MobileNet-0.25"), image_size=160)
    assert asked == ["mobilenet_2_5_160_tf_no_top.h5", "mobilenet_2_5_224_tf_no_top.h5"]


def test_building_is_deterministic_for_given_weights(sized_files: dict[int, Path]) -> None:
    """The same file gives the same outputs with any seed."""
    models = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        path = str(sized_files[128])
        models.append(build_backbone(get_backbone("MobileNetV2-0.35"), image_size=64, weights=path))
    np.testing.assert_array_equal(*(model(some_pixels(64)) for model in models))


def test_weights_that_cannot_be_used_are_refused(sized_files: dict[int, Path], tmp_path: Path) -> None:
    """A missing file, another architecture, another width, and a file without weights."""
    row, path = get_backbone("MobileNetV2-0.35"), str(sized_files[224])
    with pytest.raises(WeightsError, match=r"Received: 'absent.h5', which does not exist. Check the path."):
        build_backbone(row, image_size=32, weights="absent.h5")
    for name in ("MobileNet-0.25", "MobileNetV2-0.75"):
        with pytest.raises(WeightsError, match=rf"Expected weights of .*{path}', which does not fit"):
            build_backbone(get_backbone(name), image_size=32, weights=path)
    broken = tmp_path / "broken.h5"
    broken.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"cut off or damaged .*Give a complete file"):
        build_backbone(row, image_size=32, weights=str(broken))
    broken.rename(tmp_path / "weights.npz")
    with pytest.raises(WeightsError, match=r"which is none of these"):
        build_backbone(row, image_size=32, weights=str(tmp_path / "weights.npz"))


def test_a_network_starts_from_the_model_of_a_run(tmp_path: Path) -> None:
    """Also where Keras' own weights would be adapted to RGB; of another network, or damaged, it is refused."""
    row, run = get_backbone("MobileNetV2-0.35"), str(tmp_path / "model.keras")
    trained = build_backbone(row, image_size=32, weights="random")
    keras.Model(trained.input, keras.layers.Dense(3)(trained.output)).save(run)
    found = build_backbone(row, image_size=64, weights=run)
    for weight, expected in zip(found.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    with pytest.raises(WeightsError, match=r"Expected the model.keras of a run with MobileNet-0.25. .* does not fit"):
        build_backbone(get_backbone("MobileNet-0.25"), image_size=32, weights=run)
    Path(run).write_bytes(b"no model")
    with pytest.raises(WeightsError, match=r"does not fit"):
        build_backbone(row, image_size=32, weights=run)
    with pytest.raises(WeightsError, match=r"'absent.keras', which does not exist"):
        build_backbone(row, image_size=32, weights="absent.keras")


@pytest.fixture
def real_weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """A row whose ImageNet file for 224 px is in the cache of the environment."""
    row = get_backbone(request.param)
    name = row.weights_file.format(size=224, top="_notop")
    if not (Path(REAL_HOME) / "models" / name).is_file():
        pytest.skip(f"needs {name} in the folder models of KERAS_HOME")
    monkeypatch.setenv("KERAS_HOME", REAL_HOME)
    return row


# As it was before the tests set their own.
REAL_HOME = os.environ.get("KERAS_HOME", "")


@pytest.mark.parametrize("real_weights", ["MobileNet-0.25", "MobileNetV2-0.35"], indirect=True)
def test_real_weights_give_what_keras_gives(real_weights: Backbone) -> None:
    """With the ImageNet file for 224 px, at 224 px and below: the output is that of Keras for preprocessed pixels."""
    row = real_weights
    path = Path(REAL_HOME) / "models" / row.weights_file.format(size=224)
    for size in (224, 128):
        plain = plain_keras(row, size, str(path))
        pixels = some_pixels(size)
        model = build_backbone(row, image_size=size, weights_size=224)
        assert_close(model(pixels, training=False), plain(preprocess(row, pixels), training=False))


def test_every_network_of_keras_applications_has_a_row() -> None:
    """Each constructor that Keras exports is the constructor of a row."""
    exported = {name for name in vars(keras.applications) if name[0].isupper()}
    assert exported == {row.constructor for row in KERAS_ROWS.values()}
