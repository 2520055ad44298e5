"""A user's own model as a backbone: how it is built and trained, and which models are refused."""

import keras
import numpy as np
import pytest
from keras import layers
from networks import STAGES as SMALL
from networks import small

import advisor
import strategies
from advisor.report.text import summarize
from strategies.errors import UnknownNameError, UserError, WeightsError
from strategies.networks.backbones import BACKBONES, PREPROCESSING, get_backbone
from strategies.networks.flattening import flatten, name_leaves
from strategies.networks.pretrained import build_backbone, stage_layers
from strategies.recipes import RECIPES
from strategies.training.model import StagedModel, with_features

SIZE = 32
NESTED = {f"stage{index}": f"conv_pw_{block}_relu" for index, block in enumerate((1, 3, 5, 11, 13))}


pytestmark = pytest.mark.usefixtures("own_backbones")


@pytest.fixture
def pixels():
    """Twenty-four images of noise."""
    return np.random.default_rng(0).integers(0, 256, (24, SIZE, SIZE, 3), dtype="uint8")


def nested():
    """A nested pretrained network, in inference mode as in Keras' guide, behind a nested Sequential model."""
    base = keras.applications.MobileNet(alpha=0.25, weights=None, include_top=False, input_shape=(SIZE, SIZE, 3))
    before = keras.Sequential([layers.Rescaling(1 / 127.5, offset=-1)], name="before")
    for layer in base.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    # Statistics of noise: with the initial ones, a random network gives the same output for every image.
    base(np.random.default_rng(1).uniform(-1, 1, (32, SIZE, SIZE, 3)).astype("float32"), training=True)
    inputs = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(inputs, base(before(inputs), training=False))
    model.compile("adam", loss=lambda true, predicted: predicted)  # which no copy could take along
    return model


@keras.saving.register_keras_serializable()
class ConvNorm(layers.Layer):
    """A layer that is made of other layers, with BatchNormalization among them."""

    def __init__(self, filters, **options):
        super().__init__(**options)
        self.filters = filters
        self.conv = layers.Conv2D(filters, 3, strides=2, use_bias=False, activation="relu", name="conv")
        self.norm = layers.BatchNormalization(name="norm")

    def call(self, inputs):
        """Convolves, then normalizes."""
        return self.norm(self.conv(inputs))

    def get_config(self):
        """The number of filters, and what every layer has."""
        return {**super().get_config(), "filters": self.filters}


def composite():
    """A model of three such layers."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for index, filters in enumerate((8, 12, 16)):
        x = ConvNorm(filters, name=f"block{index}")(x)
    return keras.Model(inputs, x)


@keras.saving.register_keras_serializable()
class Attention(layers.Layer):
    """A block of a transformer, which is made of other layers."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = layers.LayerNormalization(name="norm")
        self.attention = layers.MultiHeadAttention(2, 4, name="attention")

    def call(self, inputs):
        """Adds what the tokens tell each other."""
        normed = self.norm(inputs)
        return inputs + self.attention(normed, normed)


def transformer():
    """A transformer with a class token, which has no weights of its own, and sixteen tokens of patches."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 8, strides=8, name="patches")(layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    x = layers.Dense(8, name="embedding")(layers.ZeroPadding1D((1, 0))(layers.Reshape((-1, 8))(x)))
    for index in range(4):
        x = Attention(name=f"block{index}")(x)
    return keras.Model(inputs, layers.LayerNormalization(name="last")(x))


BLOCKS = {f"stage{index}": f"block{index}" for index in range(3)}
TOKENS = {"embedding": "embedding", "early": "block1", "late": "last"}
MODELS = {
    "small": (small, SMALL),
    "nested": (nested, NESTED),
    "composite": (composite, BLOCKS),
    "transformer": (transformer, TOKENS),
    "unnamed": (transformer, None),
}
# Recipes that are tested each time; the others with `pytest -m slow`.
OFTEN = {
    "small": RECIPES,
    "nested": RECIPES,
    "composite": ["retrain_all"],
    "transformer": ["keep_early_layers"],
    "unnamed": [],
}


def _plan(recipe="head_only", **options):
    given = {"class_names": ["a", "b", "c"], "num_train": 100, "budget": 0.001} | options
    return strategies.make_plan(recipe, "mine", **given)


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        pytest.param(recipe, kind, marks=[] if recipe in OFTEN[kind] else pytest.mark.slow)
        for kind in MODELS
        for recipe in RECIPES
    ],
)
def test_each_recipe_does_to_it_what_its_freeze_map_says(recipe, kind, pixels, check_freeze_map):
    """Tensor by tensor at the end of each phase. The user's model does not change by a single bit."""
    make, stages = MODELS[kind]
    model = make()
    given = model.get_weights()
    row = strategies.add_backbone("mine", model, stages=stages)
    plan = _plan(recipe)
    seen, frozen, moved = [], 0, 0

    def check(phase, trained, before):
        nonlocal frozen, moved
        seen.append(phase.name)
        assert set(StagedModel(plan=plan, model=trained).layers) == set(plan.built_stages)
        held, changed = check_freeze_map(phase, trained, before, plan)
        frozen, moved = frozen + held, moved + changed

    result = strategies.train(plan, (pixels, ["a", "b", "c"] * 8), on_phase_end=check)
    assert seen == [phase.name for phase in plan.phases]
    assert frozen
    assert moved
    assert result.plan.weights == "own"
    assert row.has_batch_norm == (make is not transformer)
    for now, then in zip(model.get_weights(), given, strict=True):
        assert np.array_equal(now, then)


def _outputs(model, name, pixels):
    return np.asarray(keras.Model(model.input, model.get_layer(name).output)(pixels.astype("float32"), training=False))


def test_features_are_the_outputs_of_the_model(pixels):
    """At every stage of a flat model; feature maps are averaged."""
    model = small()
    strategies.add_backbone("mine", model, stages=list(SMALL.items()))
    found = strategies.extract_features(pixels, "mine", stages=list(SMALL))
    for stage, layer in SMALL.items():
        expected = _outputs(model, layer, pixels)
        expected = expected.mean(axis=(1, 2)) if expected.ndim == 4 else expected
        np.testing.assert_allclose(found[stage], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("options", "counted"),
    [
        pytest.param({}, slice(None), marks=pytest.mark.slow),
        ({"prefix_tokens": 1}, slice(1)),
        ({"pooling": "mean", "prefix_tokens": 1}, slice(1, None)),
        pytest.param({"pooling": "class_token"}, slice(1), marks=pytest.mark.slow),
    ],
)
def test_tokens_are_pooled_in_one_way(options, counted, pixels):
    """At every stage, for the new head, and in a saved model, which needs no row: those that count are averaged."""
    model = transformer()
    row = strategies.add_backbone("mine", model, stages=TOKENS, **options)
    tokens = {stage: _outputs(model, layer, pixels) for stage, layer in TOKENS.items()}
    found = strategies.extract_features(pixels, "mine", stages=list(TOKENS))
    trained = strategies.build_model(_plan())
    saved = with_features(trained, list(TOKENS.values())).predict(pixels, verbose=0)[1:]
    pooled = keras.Model(trained.input, trained.get_layer("pool").output).predict(pixels, verbose=0)
    for stage, later in zip(TOKENS, saved, strict=True):
        expected = tokens[stage][:, counted].mean(axis=1)
        np.testing.assert_allclose(found[stage], expected, atol=1e-5)
        np.testing.assert_allclose(later, expected, atol=1e-5)
    np.testing.assert_allclose(pooled, tokens["late"][:, counted].mean(axis=1), atol=1e-5)
    assert row.identity != get_backbone("MobileNetV2").identity


def test_tokens_that_are_not_there_cannot_be_counted():
    """Neither in a feature map nor more than there are."""
    for make, options in ((composite, {"pooling": "class_token"}), (transformer, {"prefix_tokens": 17})):
        with pytest.raises(UserError, match=r"Expected (a pooling of tokens only|prefix_tokens below)"):
            strategies.add_backbone("mine", make(), **options)
    with pytest.raises(UnknownNameError, match="Unknown pooling 'max'"):
        strategies.add_backbone("mine", transformer(), pooling="max")


def test_stages_are_found_where_nobody_has_named_them(pixels):
    """Where the resolution changes; between the blocks of a transformer. The output stays that of the model."""
    row = strategies.add_backbone("mine", small())
    assert [stage.last_layer for stage in row.stages[:2]] == ["relu0", "add"]
    model = transformer()
    row = strategies.add_backbone("mine", model)
    ends = [stage.last_layer for stage in row.stages]
    assert (len(ends), ends[-1], row.default_cut) == (4, "last", "stem")
    assert set(ends) < {"reshape", "embedding", "last", *(f"block{index}_end" for index in range(4))}
    images = pixels.astype("float32")
    np.testing.assert_allclose(build_backbone(row)(images), model(images), atol=1e-5)
    assert [layer.name for layer in model.layers if "block" in layer.name] == [f"block{index}" for index in range(4)]
    with pytest.raises(UserError, match="Expected the input size of mine, 32 px"):
        build_backbone(row, image_size=64)


def test_a_row_handed_over_as_a_model_gives_the_same_features(pixels):
    """A network of Keras without its name, stages and scaling: to 1e-5."""
    model = build_backbone(get_backbone("EfficientNetLite0"), image_size=SIZE, weights="random")
    row = strategies.add_backbone("mine", model)
    expected = keras.layers.GlobalAveragePooling2D()(model(pixels.astype("float32")))
    found = strategies.extract_features(pixels, "mine")
    np.testing.assert_allclose(*found.values(), expected, atol=1e-5)
    assert len(row.stages) >= 4


def test_features_of_a_nested_model_are_its_outputs(pixels):
    """A stage may end inside it."""
    model = nested()
    strategies.add_backbone("mine", model, stages=NESTED)
    found = strategies.extract_features(pixels, "mine", stages=["stage1", "stage4"], pool=False)
    early = _outputs(model.get_layer("mobilenet_0.25_32"), "conv_pw_3_relu", pixels / 127.5 - 1)
    for values, expected in ((found["stage1"], early), (found["stage4"], model(pixels, training=False))):
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_built_model_is_flat_and_every_layer_has_a_stage():
    """Except scaling, wherever it is."""
    row = strategies.add_backbone("mine", nested(), stages=NESTED)
    network = build_backbone(row)
    owned = [name for names in stage_layers(network, row).values() for name in names]
    assert not any(isinstance(layer, keras.Model) for layer in network.layers)
    scaling = (layers.InputLayer, layers.Rescaling)
    assert {layer.name for layer in network.layers if not isinstance(layer, scaling)} == set(owned)
    assert len(set(owned)) == len(owned)
    assert row.default_cut == "stage1"


def test_another_input_size_is_built_where_the_layers_allow_it(pixels):
    """With the same weights, below and above the model's own size, and for a model without a fixed size."""
    model = small()
    row = strategies.add_backbone("mine", model, stages=SMALL)
    assert (row.image_size, row.min_image_size) == (SIZE, 1)
    for size in (16, 48):
        same = small(size)
        same.set_weights(model.get_weights())
        images = np.random.default_rng(2).uniform(0, 255, (2, size, size, 3)).astype("float32")
        np.testing.assert_allclose(build_backbone(row, image_size=size)(images), same(images), atol=1e-5)
    with pytest.raises(UserError, match=r"Expected image_size for a model whose input has no fixed size"):
        strategies.add_backbone("mine", small(None), stages=SMALL)
    assert strategies.add_backbone("mine", small(None), stages=SMALL, image_size=40).image_size == 40
    assert strategies.add_backbone("mine", small(), stages=SMALL, image_size=40).image_size == 40


def test_a_model_for_one_input_size_keeps_it():
    """A Dense layer on flattened maps has weights for only one size. Other sizes are refused."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3, strides=4, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(5, name="dense")(x))
    stages = {"conv": "conv", "dense": "dense"}
    row = strategies.add_backbone("mine", model, stages=stages)
    assert (row.min_image_size, row.has_batch_norm) == (SIZE, False)
    with pytest.raises(UserError, match=r"such as its own, 32 px. Received: image_size=64"):
        build_backbone(row, image_size=64)
    with pytest.raises(UserError, match=r"Received: image_size=64"):
        strategies.add_backbone("mine", model, stages=stages, image_size=64)


@pytest.mark.parametrize("preprocessing", ["none", "-1..1", "-1..0.99", "torch", "caffe"])
def test_pixels_become_what_the_model_expects(preprocessing, pixels, tmp_path):
    """As with Keras' `preprocess_input`, without changed kernels; also after saving and loading in safe mode."""
    model = small(scaled=False)
    row = strategies.add_backbone("mine", model, stages=SMALL, preprocessing=preprocessing)
    images = pixels.astype("float32")
    if preprocessing in ("torch", "caffe"):
        prepared = keras.applications.imagenet_utils.preprocess_input(images.copy(), mode=preprocessing)
    else:
        prepared = {"none": images, "-1..1": images / 127.5 - 1, "-1..0.99": images / 128 - 1}[preprocessing]
    network = build_backbone(row)
    kernels = [built.get_layer("conv0").get_weights()[0] for built in (network, model)]
    np.testing.assert_array_equal(*kernels)
    network.save(tmp_path / "model.keras")
    for built in (network, keras.models.load_model(tmp_path / "model.keras", safe_mode=True)):
        np.testing.assert_allclose(built(images), model(prepared), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(
        network.get_layer("conv0").get_weights()[0], model.get_layer("conv0").get_weights()[0]
    )


def test_preprocessing_that_would_change_a_kernel_is_refused():
    """ "built-in" is for Keras' EfficientNet, whose first kernel gets a factor. The message suggests "none"."""
    assert set(PREPROCESSING["none"].factor) == {1.0}
    for name in ("built-in", "minus-one"):
        with pytest.raises(UnknownNameError, match=r"Unknown preprocessing .*'none' leaves all scaling to the model."):
            strategies.add_backbone("mine", small(), stages=SMALL, preprocessing=name)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_are_the_models_own_by_default(tmp_path):
    """In plans and in `build_backbone`. Random weights are initialized again; a weights file of the model is loaded."""
    model = nested()
    row = strategies.add_backbone("mine", model, stages=NESTED)
    assert _plan().weights == "own"
    assert _plan(weights="random").weights == "random"
    kernels = [name for name, leaf in name_leaves(model).items() if leaf.weights and "bn" not in name]

    def weights(**options):
        network = build_backbone(row, **options)
        return [network.get_layer(name).get_weights()[0] for name in kernels]

    own, random = weights(), weights(weights="random")
    assert all(np.array_equal(*pair) for pair in zip(own, weights(weights="own"), strict=True))
    assert not any(np.array_equal(*pair) for pair in zip(own, random, strict=True))
    # Later changes to the model do not change the backbone.
    model.get_layer("mobilenet_0.25_32").set_weights([w + 1 for w in model.get_weights()])
    assert all(np.array_equal(*pair) for pair in zip(own, weights(), strict=True))
    path = tmp_path / "later.weights.h5"
    model.save_weights(path)
    assert all(np.allclose(loaded, first + 1) for loaded, first in zip(weights(weights=str(path)), own, strict=True))
    small().save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(WeightsError, match=r"Expected weights of mine. Received: .*which does not fit"):
        weights(weights=str(tmp_path / "other.weights.h5"))
    with pytest.raises(WeightsError, match=r"Expected weights 'own', 'random' or the path"):
        weights(weights="absent.h5")


def test_the_mean_and_variance_of_normalization_stay_with_random_weights():
    """They scale pixels and do not come from training."""
    inputs = keras.Input((SIZE, SIZE, 3))
    scaling = layers.Normalization(name="scaling")
    scaling.adapt(np.random.default_rng(0).uniform(0, 255, (8, SIZE, SIZE, 3)))
    x = layers.Conv2D(4, 3, name="a")(scaling(inputs))
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="b")(x))
    row = strategies.add_backbone("mine", model, stages={"a": "a", "b": "b"})
    network = build_backbone(row, weights="random")
    pixels = np.full((1, SIZE, SIZE, 3), 99, "float32")
    np.testing.assert_allclose(network.get_layer("scaling")(pixels), scaling(pixels), rtol=1e-5)
    assert not np.array_equal(network.get_layer("a").get_weights()[0], model.get_layer("a").get_weights()[0])


def test_a_file_of_a_model_is_as_good_as_the_model(tmp_path, pixels):
    """It is read in safe mode when the backbone is added."""
    model = small()
    model.save(tmp_path / "model.keras")
    row = strategies.add_backbone("mine", tmp_path / "model.keras", stages=SMALL)
    np.testing.assert_allclose(build_backbone(row)(pixels), model(pixels), atol=1e-5)
    with pytest.raises(UserError, match=r"Expected a .keras file that Keras loads in safe mode. Received: .*absent"):
        strategies.add_backbone("mine", str(tmp_path / "absent.keras"), stages=SMALL)


def test_layers_with_the_same_name_get_different_names():
    """The outer layer keeps its name. The inner one gets the name of its model in front; so do operations."""
    inner_inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, name="conv", use_bias=False)(inner_inputs)
    inner = keras.Model(inner_inputs, keras.ops.add(x, x), name="inner")
    inputs = keras.Input((SIZE, SIZE, 3), name="preprocessing")
    x = layers.Conv2D(4, 3, name="conv", use_bias=False)(inner(layers.Conv2D(3, 1, name="first")(inputs)))
    model = keras.Model(inputs, layers.Identity(name="classifier")(x), name="outer")
    row = strategies.add_backbone(
        "mine", model, stages={"a": "first", "b": "inner_conv", "c": "conv", "d": "classifier"}
    )
    assert [stage.last_layer for stage in row.stages] == ["first", "inner_conv", "conv", "outer_classifier"]
    network = build_backbone(row)
    for layer, meant in (("inner_conv", inner.get_layer("conv")), ("conv", model.get_layer("conv"))):
        np.testing.assert_array_equal(network.get_layer(layer).get_weights()[0], meant.get_weights()[0])
    assert strategies.build_model(_plan("keep_early_layers")).output_shape == (None, 3)


def test_nested_models_in_a_sequential_model_are_flattened(pixels):
    """At any depth, with the same output."""
    deep = keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.Sequential([nested()]), layers.ReLU(name="end")])
    expected = np.asarray(deep(pixels, training=False))
    flat = flatten(deep)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    np.testing.assert_allclose(flat(pixels, training=False), expected, atol=1e-5)


def test_a_name_is_replaced_if_it_was_added_and_refused_if_it_is_keras():
    """A network of Keras with the width 1.0 has two names."""
    strategies.add_backbone("mine", small(), stages=SMALL)
    row = strategies.add_backbone("mine", small(), stages=SMALL, default_cut="stem", source="me")
    assert get_backbone("mine") is row
    assert (row.default_cut, row.source) == ("stem", "me")
    for name in ("VGG16", "MobileNetV2-1.0"):
        with pytest.raises(UserError, match=f"Received: '{name}', a network of Keras"):
            strategies.add_backbone(name, small(), stages=SMALL)
    with pytest.raises(UserError, match="without '/'"):
        strategies.add_backbone("my/model", small(), stages=SMALL)


def test_similarity_can_be_measured_with_it(pixels):
    """The statistics of its BatchNorm layers are the reference, without calibration. BatchNorm is required."""
    strategies.add_backbone("mine", nested(), stages=NESTED)
    found = advisor.measure_similarity(pixels, ruler="mine", image_size=SIZE)
    assert (found.calibrated, found.ruler.weights) == (False, "own")
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, name="a")(inputs)
    strategies.add_backbone("mine", keras.Model(inputs, layers.ReLU(name="b")(x)), stages={"a": "a", "b": "b"})
    with pytest.raises(UserError, match="a ruler with BatchNormalization"):
        advisor.measure_similarity(pixels, ruler="mine", image_size=SIZE)


def test_advice_is_given_for_it(pixels, pretrained_weights):
    """The plan says that the weights are the model's own."""
    strategies.add_backbone("mine", small(), stages=SMALL)
    advice = advisor.recommend((pixels, ["a", "b", "c"] * 8), backbone="mine", image_size=SIZE)
    assert advice.plan.weights == "own"
    assert "weights own" in summarize(advice, verbose=True)
    assert set(advice.plan.parameters) >= set(SMALL)


class Subclassed(keras.Model):
    """A model whose layers Keras cannot list."""

    def call(self, inputs):
        """Does nothing."""
        return inputs


class Moving(layers.Layer):
    """A layer with moving statistics of its own."""

    def build(self, shape):
        """Creates them."""
        self.mean = self.add_weight(shape=shape[-1:], name="moving_mean", trainable=False)

    def call(self, inputs):
        """Subtracts them."""
        return inputs - self.mean


class Forgetful(layers.Layer):
    """A layer with state outside its configuration and weights."""

    factor = 1.0

    def call(self, inputs):
        """Multiplies."""
        return inputs * self.factor


def _ending_in(*more, shape=(SIZE, SIZE, 3), first=None):
    """A small Sequential model that ends in the given layers."""
    return keras.Sequential([keras.Input(shape), first or layers.Conv2D(4, 3, name="a"), *more])


def _two_inputs():
    left, right = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    return keras.Model([left, right], layers.ReLU(name="b")(layers.Conv2D(4, 3, name="a")(left + right)))


def _two_outputs():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, name="a")(inputs)
    return keras.Model(inputs, [x, layers.ReLU(name="b")(x)])


def _shared():
    inputs = keras.Input((SIZE, SIZE, 3))
    conv = layers.Conv2D(3, 3, padding="same", name="shared")
    return keras.Model(inputs, layers.ReLU(name="b")(conv(layers.ReLU(name="a")(conv(inputs)))))


def _branches():
    inputs = keras.Input((SIZE, SIZE, 3))
    left, right = (layers.Conv2D(4, 3, name=name)(inputs) for name in ("a", "side"))
    return keras.Model(inputs, layers.Conv2D(4, 3, name="b")(layers.Add()([left, right])))


def _ends_in_an_operation():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, name="b")(layers.Conv2D(4, 3, name="a")(inputs))
    return keras.Model(inputs, x * 2)


def _forgetful():
    layer = Forgetful(name="b")
    layer.factor = 2.0
    return _ending_in(layer)


AB = {"one": "a", "two": "b"}


@pytest.mark.parametrize(
    ("make", "stages", "sentence"),
    [
        (lambda: Subclassed(), AB, r"Expected a functional keras.Model.*Received: a Subclassed"),
        (lambda: ["no", "model"], AB, r"Expected a functional keras.Model.*Received: a list"),
        (lambda: keras.Sequential([layers.Conv2D(4, 3)]), AB, r"give a Sequential model its keras.Input"),
        (lambda: _ending_in(Subclassed(name="b")), AB, r"Received: 'b', a Subclassed"),
        (_two_inputs, AB, r"Received: 2 inputs and 1 outputs"),
        (_two_outputs, AB, r"Received: 1 inputs and 2 outputs"),
        (_shared, AB, r"Received: 'shared', which is used 2 times"),
        (_branches, {"one": "a", "two": "side", "end": "b"}, r"'side', which does not follow 'a'"),
        (_branches, {"two": "b", "one": "a"}, r"'one' ending at 'a', which is scaling or belongs to an earlier stage"),
        (_branches, {"one": "a", "two": "side"}, r"does not follow"),
        (_branches, {"one": "a"}, r"Expected two or more stages"),
        (_branches, [("one", "a"), ("one", "b")], r"Expected different names of stages"),
        (_branches, {"one": "a", "classifier": "b"}, r"none of them top or classifier"),
        (_branches, {"one": "a", "two": "c"}, r"Unknown layer of mine 'c'.*Known: a, "),
        (_ends_in_an_operation, AB, r"'b', while the model ends at 'b'|Expected a last stage that ends the model"),
        (lambda: _ending_in(layers.ReLU(name="b"), layers.ReLU(name="c")), AB, r"while the model ends at 'c'"),
        (lambda: _ending_in(layers.ReLU(name="b"), first=layers.Rescaling(2.0, name="a")), AB, r"which is scaling"),
        (lambda: _ending_in(layers.Reshape((-1, 4, 1, 1), name="b")), AB, r"Received: shape \(None, 900, 4, 1, 1\)"),
        (lambda: _ending_in(layers.ReLU(name="b"), shape=(SIZE, SIZE, 1)), AB, r"\(None, side, side, 3\)"),
        (lambda: _ending_in(layers.ReLU(name="b"), shape=(SIZE, 16, 3)), AB, r"\(None, 32, 16, 3\)"),
        (lambda: _ending_in(layers.Flatten(name="b"), layers.Dense(3, "softmax", name="c")), AB, r"softmax of 'c'"),
        (
            lambda: _ending_in(layers.Flatten(name="b"), layers.Dense(3, name="c")),
            {**AB, "end": "c"},
            r"Received: stage 'two' ending at 'b' with shape \(None, 3600\)",
        ),
        (lambda: _ending_in(Moving(name="b")), AB, r"Received: 'b', a Moving that has its own"),
        (_forgetful, AB, r"whose copy differs by"),
        (lambda: _ending_in(layers.Lambda(lambda x: x, name="b")), AB, r"Received: 'b', a Lambda"),
    ],
)
def test_what_cannot_be_a_backbone_is_refused_with_one_line(make, stages, sentence):
    """It says what was expected, what was received and what to do. No backbone is added."""
    with pytest.raises(UserError, match=sentence) as caught:
        strategies.add_backbone("mine", make(), stages=stages)
    assert "\n" not in str(caught.value)
    assert "mine" not in BACKBONES


def test_a_cut_after_the_last_stage_is_refused():
    """It would leave nothing to replace."""
    with pytest.raises(UnknownNameError, match=r"Unknown stage of mine to cut after 'end'.*Known: late, middle, stem"):
        strategies.add_backbone("mine", small(), stages=SMALL, default_cut="end")
