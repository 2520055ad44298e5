"""Checks families of KerasHub as backbones: python benchmarks/kerashub.py DATASET [--families ViT ...]

Small networks with random weights, 64 px. Prints a row per family: its stages, how its features are pooled, whether the
four recipes train and leave frozen weights as they were, bit for bit, whether Keras alone, in another process, loads
the trained model with the same output, and whether the exported ONNX model agrees. Or the sentence with which the
network is refused. Needs KerasHub and, for ONNX, tf2onnx.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

import strategies
from strategies.errors import UserError

SIZE = 64
IMAGE = (SIZE, SIZE, 3)
LOAD = """
import sys
import keras
import numpy as np
np.save(sys.argv[3], keras.models.load_model(sys.argv[1])(np.load(sys.argv[2])))
"""
TRANSFORMER = {"image_shape": IMAGE, "patch_size": 16, "num_layers": 4, "num_heads": 2, "hidden_dim": 16}


def _zeros(*counts: int) -> list[list[float]]:
    return [[0.0] * count for count in counts]


def _make(name: str, **arguments: object) -> Callable[[], keras.Model]:
    def make() -> keras.Model:
        import keras_hub

        return getattr(keras_hub.models, name)(**arguments)

    return make


def _siglip() -> keras.Model:
    from keras_hub.src.models.siglip.siglip_vision_encoder import SigLIPVisionEncoder

    return SigLIPVisionEncoder(intermediate_dim=32, **TRANSFORMER)


FAMILIES: dict[str, Callable[[], keras.Model]] = {
    "ResNet": _make(
        "ResNetBackbone",
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16, 16],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
    ),
    "DenseNet": _make("DenseNetBackbone", stackwise_num_repeats=[2, 2, 2], growth_rate=8),
    "CSPNet": _make(
        "CSPNetBackbone",
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_depth=[1, 1, 2],
        stackwise_strides=[1, 2, 2],
        stackwise_num_filters=[8, 16, 16],
        block_type="dark_block",
        stage_type="dark",
    ),
    "Xception": _make(
        "XceptionBackbone",
        stackwise_conv_filters=[[8, 8], [16, 16], [16, 16], [32, 32], [32, 32]],
        stackwise_pooling=[False, True, False, True, False],
    ),
    "VGG": _make(
        "VGGBackbone", stackwise_num_repeats=[1, 1, 1, 1], stackwise_num_filters=[8, 8, 16, 16], image_shape=IMAGE
    ),
    "EfficientNet": _make(
        "EfficientNetBackbone",
        stackwise_width_coefficients=[1.0] * 3,
        stackwise_depth_coefficients=[1.0] * 3,
        stackwise_kernel_sizes=[3, 3, 3],
        stackwise_num_repeats=[1, 2, 2],
        stackwise_input_filters=[8, 8, 16],
        stackwise_output_filters=[8, 16, 16],
        stackwise_expansion_ratios=[1, 4, 4],
        stackwise_squeeze_and_excite_ratios=[0.0, 0.25, 0.25],
        stackwise_strides=[1, 2, 2],
        stackwise_block_types=["fused", "unfused", "v1"],
        num_features=32,
    ),
    "MobileNet": _make(
        "MobileNetBackbone",
        stackwise_expansion=[[8, 16], [16, 16]],
        stackwise_num_blocks=[2, 2],
        stackwise_num_filters=[[8, 8], [16, 16]],
        stackwise_kernel_size=[[3, 3], [5, 5]],
        stackwise_num_strides=[[2, 1], [2, 1]],
        stackwise_se_ratio=[[None, None], [0.25, 0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1, 1], [2, 2]],
        output_num_filters=32,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        squeeze_and_excite=0.5,
        last_layer_filter=32,
        image_shape=IMAGE,
    ),
    "MobileNetV5": _make(
        "MobileNetV5Backbone",
        stackwise_block_types=[["er"], ["uir", "uir"], ["uir", "mqa"]],
        stackwise_num_blocks=[1, 2, 2],
        stackwise_num_filters=[[8], [16, 16], [16, 16]],
        stackwise_strides=[[2], [2, 1], [2, 1]],
        stackwise_act_layers=[["relu"], ["relu"] * 2, ["relu"] * 2],
        stackwise_exp_ratios=[[4.0], [4.0, 4.0], [4.0, 1.0]],
        stackwise_se_ratios=_zeros(1, 2, 2),
        stackwise_dw_kernel_sizes=[[0], [5, 5], [5, 0]],
        stackwise_dw_start_kernel_sizes=[[0], [0, 0], [0, 0]],
        stackwise_dw_end_kernel_sizes=[[0], [0, 0], [0, 0]],
        stackwise_exp_kernel_sizes=[[3], [0, 0], [0, 0]],
        stackwise_pw_kernel_sizes=[[1], [0, 0], [0, 0]],
        stackwise_num_heads=[[0], [0, 0], [0, 2]],
        stackwise_key_dims=[[0], [0, 0], [0, 8]],
        stackwise_value_dims=[[0], [0, 0], [0, 8]],
        stackwise_kv_strides=[[0], [0, 0], [0, 1]],
        stackwise_use_cpe=[[False], [False] * 2, [False] * 2],
        use_msfa=False,
        image_shape=IMAGE,
    ),
    "HGNetV2": _make(
        "HGNetV2Backbone",
        depths=[1, 1, 2],
        embedding_size=8,
        hidden_sizes=[8, 16, 16],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=True,
        stackwise_stage_filters=[(8, 8, 16, 1, 1, 3), (16, 8, 16, 1, 1, 3), (16, 8, 16, 2, 1, 3)],
        apply_downsample=[False, True, True],
        use_lightweight_conv_block=[False, False, True],
        image_shape=IMAGE,
    ),
    "ViT": _make("ViTBackbone", mlp_dim=32, **TRANSFORMER),
    "DINOv2": _make(
        "DINOV2Backbone", intermediate_dim=32, position_embedding_shape=IMAGE, num_register_tokens=2, **TRANSFORMER
    ),
    "DINOv3": _make("DINOV3Backbone", intermediate_dim=32, **TRANSFORMER),
    "SigLIP": _siglip,
    "DeiT": _make("DeiTBackbone", intermediate_dim=32, **TRANSFORMER),
    "Swin": _make(
        "SwinTransformerBackbone", image_shape=IMAGE, embed_dim=8, depths=(2, 2), num_heads=(2, 2), window_size=4
    ),
    "MiT": _make(
        "MiTBackbone",
        layerwise_depths=[1, 1, 1, 1],
        num_layers=4,
        layerwise_num_heads=[1, 1, 2, 2],
        layerwise_sr_ratios=[8, 4, 2, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        hidden_dims=[8, 8, 16, 16],
        image_shape=IMAGE,
    ),
}


def check(name: str, dataset: str, folder: Path) -> list[str]:
    """Returns the cells of a family's row."""
    keras.utils.set_random_seed(0)
    own = f"{name} of KerasHub"
    row = strategies.add_backbone(own, FAMILIES[name](), image_size=SIZE, preprocessing="-1..1")
    data = strategies.split_dataset(strategies.load_dataset(dataset), seed=0)
    for recipe in strategies.RECIPES:
        plan = strategies.make_plan(recipe, own, class_names=data.class_names, num_train=len(data.items), budget=0.01)
        # Training itself raises an error if a frozen weight changes by a bit.
        result = strategies.train(replace(plan, refit=False), data, folder / recipe, cache=False, baseline=False)
    pixels = np.random.default_rng(0).uniform(0, 255, (4, *IMAGE)).astype("float32")
    np.save(folder / "pixels.npy", pixels)
    files = [folder / recipe / "model.keras", folder / "pixels.npy", folder / "outputs.npy"]
    command = [sys.executable, "-c", LOAD, *map(str, files)]
    loaded = subprocess.run(command, capture_output=True, cwd=folder, check=False)
    same = not loaded.returncode and np.allclose(np.load(files[2]), result.model(pixels), atol=1e-5)
    try:
        strategies.export(folder / recipe, "onnx")
        onnx = "yes"
    except UserError as error:
        onnx = f"no: {str(error)[:120]}"
    pooled = {2: "its own", 3: row.pooling.replace("_", " "), 4: "mean"}[len(row.model.output.shape)]
    norm = "yes" if row.has_batch_norm else "no"
    return [str(len(row.stages)), pooled, norm, "yes", "yes" if same else "no", onnx]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="a folder with one sub-folder of images per class")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    given = parser.parse_args()
    print("| family | stages | pooled by | BatchNorm | four recipes | loaded by Keras alone | ONNX |")
    print("|---|---|---|---|---|---|---|")
    for name in given.families:
        with tempfile.TemporaryDirectory() as folder:
            try:
                cells = check(name, given.dataset, Path(folder))
            except UserError as error:
                cells = [f"refused: {error}", *[""] * 5]
        print("|", " | ".join([name, *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
