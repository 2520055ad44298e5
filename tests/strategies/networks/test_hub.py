"""Networks of KerasHub by name: presets in folders, and what is said where they cannot be used."""

import sys

import keras
import numpy as np
import pytest

import strategies
from strategies.errors import UserError, WeightsError
from strategies.networks.backbones import BACKBONES, get_backbone
from strategies.recipes import RECIPES

SIZE = 32
IMAGE = (SIZE, SIZE, 3)
FAMILIES = {
    "ViTBackbone": {
        "image_shape": IMAGE,
        "patch_size": 8,
        "num_layers": 3,
        "num_heads": 2,
        "hidden_dim": 8,
        "mlp_dim": 16,
    },
    "HGNetV2Backbone": {
        "depths": [1, 1],
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "stem_channels": [3, 8, 8],
        "hidden_act": "relu",
        "use_learnable_affine_block": True,
        "stackwise_stage_filters": [(8, 8, 16, 1, 1, 3), (16, 8, 16, 1, 1, 3)],
        "apply_downsample": [False, True],
        "use_lightweight_conv_block": [False, True],
        "image_shape": IMAGE,
    },
}


pytestmark = pytest.mark.usefixtures("own_backbones")


def test_without_kerashub_the_error_says_how_to_install_it(advisor, photos, monkeypatch, tmp_path):
    """In a sentence on stderr, with exit code 2, before any image is read."""
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    code, _, errors = advisor("train", photos, "--backbone", "hub:vit", "--out", tmp_path / "run")
    assert code == 2
    assert "Run: pip install 'transfer-advisor[hub]'." in errors
    with pytest.raises(UserError, match="Expected KerasHub, which loads the networks whose names start with 'hub:'"):
        get_backbone("hub:vit")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_preset_in_a_folder_is_trained_and_used_afterwards(family, photos, check_freeze_map, tmp_path):
    """By all recipes, with its own scaling; the run needs the preset no more. Its output is that of KerasHub."""
    keras_hub = pytest.importorskip("keras_hub")
    folder = tmp_path / "preset"
    folder.mkdir()
    network = getattr(keras_hub.models, family)(**FAMILIES[family])
    network.save_to_preset(folder)
    keras_hub.layers.ImageConverter(image_size=IMAGE[:2], scale=[0.1, 0.2, 0.3], offset=1.0).save_to_preset(folder)
    name = f"hub:{folder}"
    row = get_backbone(name)
    assert (row.image_size, row.scaling.scale, row.scaling.offset) == (SIZE, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert row.has_tokens == (family != "HGNetV2Backbone")
    pixels = np.random.default_rng(0).integers(0, 256, (4, *IMAGE), dtype="uint8")
    answer = network(pixels * np.array([0.1, 0.2, 0.3], "float32") + np.float32(1))
    last = answer["stage2"] if isinstance(answer, dict) else answer
    found = strategies.extract_features(pixels, name, stages=[row.stages[-1].name], pool=False)
    np.testing.assert_allclose(*found.values(), last, atol=1e-4)
    for recipe in RECIPES:
        plan = strategies.make_plan(recipe, name, class_names=["china", "flower"], num_train=28, budget=0.001)

        def check(phase, model, before, plan=plan):
            check_freeze_map(phase, model, before, plan)

        result = strategies.train(plan, photos, tmp_path / recipe, on_phase_end=check, cache=False)
        np.testing.assert_allclose(
            keras.models.load_model(tmp_path / recipe / "model.keras")(pixels), result.model(pixels), atol=1e-5
        )
    del BACKBONES[name]
    for path in sorted(folder.iterdir()):
        path.unlink()
    assert len(strategies.predict(tmp_path / recipe, photos)) == 40
    with pytest.raises(WeightsError, match="Expected a preset of KerasHub that can be loaded, or a folder"):
        get_backbone(name)
