"""The baselines of the study: Keras' published transfer-learning loop, and a plain logistic regression."""

from __future__ import annotations

import numpy as np

from strategies.data.dataset import ImageDataset
from strategies.data.pixels import Pixels
from strategies.features.forward import forward
from strategies.networks.backbones import get_backbone
from strategies.networks.backend import keras, use_xla
from strategies.networks.normalization import batch_norms
from strategies.networks.pretrained import build_backbone
from strategies.training.metrics import Evaluation, evaluate_predictions


def _splits(dataset: ImageDataset, image_size: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    splits = {}
    for name in ("train", "val", "test"):
        split = dataset.subset(np.flatnonzero(np.array(dataset.split) == name))
        pixels = Pixels(split.items, image_size)[:] if len(split) else np.zeros((0, image_size, image_size, 3), "uint8")
        splits[name] = (pixels, split.labels)
    return splits


def keras_guide(
    dataset: ImageDataset, *, backbone: str, image_size: int, weights: str, seed: int, held: bool = False
) -> Evaluation:
    """Runs the loop of Keras' guide: a new head with Adam 1e-3 for 20 epochs, then all layers with Adam 1e-5 for 10.

    As in the guide, the base is called with `training=False`, so BatchNormalization should stay in inference mode. In
    Keras 3.15, it does not once the base is unfrozen: `fit` overrides the call, and the moving statistics follow the
    batches, while the weights hardly change at this learning rate.

    Args:
        dataset: The images, split.
        backbone: Name of the backbone.
        image_size: Side of the square input in pixels.
        weights: Weights of the backbone, as in `strategies.build_backbone`.
        seed: Seed of everything random.
        held: Whether each BatchNormalization layer is frozen too, which has the effect that the guide describes.

    Reference:
        Keras, Transfer learning & fine-tuning (keras.io/guides/transfer_learning).
    """
    splits = _splits(dataset, image_size)
    keras.utils.set_random_seed(seed)
    base = build_backbone(get_backbone(backbone), image_size=image_size, weights=weights)
    base.trainable = False
    inputs = keras.Input((image_size, image_size, 3))
    features = keras.layers.GlobalAveragePooling2D()(base(inputs, training=False))
    outputs = keras.layers.Dense(len(dataset.class_names), activation="softmax")(keras.layers.Dropout(0.2)(features))
    model = keras.Model(inputs, outputs)
    images, labels = splits["train"]
    for rate, epochs in ((1e-3, 20), (1e-5, 10)):
        model.compile(
            optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", jit_compile=use_xla()
        )
        model.fit(images.astype("float32"), labels, epochs=epochs, verbose=0)
        base.trainable = True
        for norm in batch_norms(base) if held else ():
            norm.trainable = False
    (probabilities,) = forward(model, splits["test"][0])
    return evaluate_predictions(probabilities, splits["test"][1], labels, dataset.class_names)


def keras_guide_held(dataset: ImageDataset, *, backbone: str, image_size: int, weights: str, seed: int) -> Evaluation:
    """Runs the same loop with BatchNormalization held, as the text of the guide intends; see `keras_guide`."""
    return keras_guide(dataset, backbone=backbone, image_size=image_size, weights=weights, seed=seed, held=True)


def logistic_regression(
    dataset: ImageDataset, *, backbone: str, image_size: int, weights: str, seed: int
) -> Evaluation:
    """Fits scikit-learn's logistic regression with its defaults on pooled features of the frozen backbone."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    splits = _splits(dataset, image_size)
    base = build_backbone(get_backbone(backbone), image_size=image_size, weights=weights)
    pooled = keras.Model(base.input, keras.layers.GlobalAveragePooling2D()(base.output))
    features = {name: forward(pooled, images)[0] for name, (images, _) in splits.items() if len(images)}
    labels = {name: split[1] for name, split in splits.items()}
    learning = [name for name in ("train", "val") if name in features]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=seed))
    model.fit(
        np.concatenate([features[name] for name in learning]), np.concatenate([labels[name] for name in learning])
    )
    probabilities = np.zeros((len(labels["test"]), len(dataset.class_names)))
    probabilities[:, model.classes_] = model.predict_proba(features["test"])
    return evaluate_predictions(probabilities, labels["test"], labels["train"], dataset.class_names)
