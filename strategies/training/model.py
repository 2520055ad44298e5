"""Builds the Keras model of a plan and freezes its stages. No other module sets `trainable`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from strategies.features.cache import FeatureCache
from strategies.features.extraction import stage_extractor
from strategies.features.forward import cached_forward, forward
from strategies.networks.backbones import CLASSIFIER, DROPOUT, POOL
from strategies.networks.backend import has_gpu, usual_settings
from strategies.networks.normalization import batch_norms
from strategies.networks.pooling import crop_in, crop_of, pool
from strategies.networks.pretrained import build_network, stage_layers
from strategies.plans.phase import Phase
from strategies.plans.plan import Plan

if TYPE_CHECKING:
    import keras

    from strategies.data.batches import AugmentedViews
    from strategies.data.pixels import Pixels


def resolve_precision(precision: str) -> str:
    """Returns the Keras dtype policy for a plan's `precision`. `auto` means mixed precision on a GPU, else float32."""
    if precision != "auto":
        return precision
    return "mixed_float16" if has_gpu() else "float32"


@usual_settings()
def build_model(plan: Plan, *, precision: str = "float32") -> keras.Model:
    """Builds the model of a plan: the kept stages of the backbone with pretrained weights, and a new classifier on top.

    The model takes RGB pixels 0-255 of shape `(image_size, image_size, 3)`, scales them itself, and returns one
    probability per class. It is flat (it contains no nested model), so all layers are found by name. The classifier
    starts from random values. Call `keras.utils.set_random_seed` first if they must be the same each time;
    `strategies.train` does so.

    Args:
        plan: The plan.
        precision: Keras dtype policy: `float32`, `mixed_float16` or `mixed_bfloat16`. Weights stay float32.

    Raises:
        WeightsError: If the pretrained weights are not available.

    Example:
        >>> import strategies
        >>> plan = strategies.make_plan("head_only", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=80,
        ...                             image_size=32, weights="random")
        >>> strategies.build_model(plan).output_shape
        (None, 2)
    """
    from strategies.networks.backend import keras

    last = plan.last_stage
    dense = next(stage.dense for stage in plan.stages if stage.name == last)
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy(precision)  # keras.applications uses the global policy
    try:
        backbone = build_network(plan.network, dense=dense, last_stage=last)
        outputs = pool(backbone.output, crop_of(plan.network.row, backbone), name=POOL)
        if plan.dropout:
            outputs = keras.layers.Dropout(plan.dropout, name=DROPOUT)(outputs)
        outputs = keras.layers.Dense(len(plan.class_names), activation="softmax", dtype="float32", name=CLASSIFIER)(
            outputs
        )
        return keras.Model(backbone.input, outputs, name=plan.recipe)
    finally:
        keras.mixed_precision.set_global_policy(policy)


def with_features(model: keras.Model, layers: Sequence[str]) -> keras.Model:
    """Returns a model of images with further outputs: those of some layers, pooled to vectors.

    Args:
        model: A model of images. It is returned as it is if no layer is named.
        layers: Names of its layers, such as the last ones of its stages.

    Example:
        >>> import strategies
        >>> from strategies.training.model import with_features
        >>> plan = strategies.make_plan("head_only", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=80,
        ...                             image_size=32, weights="random")
        >>> with_features(strategies.build_model(plan), ["expanded_conv_project_BN", "out_relu"]).output_shape
        [(None, 2), (None, 8), (None, 1280)]
    """
    from strategies.networks.backend import keras

    pooled = [pool(model.get_layer(name).output, crop_in(model), dtype="float32") for name in layers]
    return keras.Model(model.input, [model.output, *pooled]) if layers else model


@dataclass(frozen=True, kw_only=True, eq=False)
class StagedModel:
    """The Keras model of a plan, with the layers of each stage.

    Attributes:
        plan: The plan that the model was built from.
        model: The model that `build_model` returned, or the same model loaded from a file.
        precision: Keras dtype policy of the layers.
    """

    plan: Plan
    model: keras.Model
    precision: str = "float32"

    @classmethod
    def build(cls, plan: Plan, *, precision: str = "float32") -> StagedModel:
        """Builds the model of a plan; see `build_model`."""
        return cls(plan=plan, model=build_model(plan, precision=precision), precision=precision)

    @cached_property
    def layers(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the layers of each stage and of the classifier. Input, scaling and pooling belong to no stage."""
        owners = stage_layers(self.model, self.plan.network.row)
        found = {stage: names for stage, names in owners.items() if stage in self.plan.built_stages}
        added = tuple(layer.name for layer in self.model.layers if layer.name in (DROPOUT, CLASSIFIER))
        return found | {CLASSIFIER: added}

    @property
    def ends(self) -> tuple[str, ...]:
        """Names of the last layers of the stages, in order from the image."""
        return tuple(self.layers[name][-1] for name in (*self.plan.kept_stages, *self.plan.rebuilt_stages))

    def start_phase(self, phase: Phase) -> None:
        """Sets `trainable` of every layer, and the momentum of every BatchNormalization layer, for a phase.

        BatchNormalization layers in inference mode are frozen, also within other layers: in Keras 3.15, calling them
        with `training=False` does not keep their statistics constant during `fit`. Compile the model afterward, with a
        new optimizer.
        """
        owner = {name: stage for stage, names in self.layers.items() for name in names}
        for layer in self.model.layers:
            stage = owner.get(layer.name)
            layer.trainable = stage in phase.trains
            policy = phase.batch_norm.get(str(stage), {"mode": "inference"})
            for norm in batch_norms(layer) if layer.trainable else ():
                norm.trainable = policy["mode"] == "train"
                if norm.trainable:
                    norm.momentum = policy["momentum"]

    def learning_rates(self, phase: Phase, before: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Returns the peak learning rate of every trainable weight, by path.

        Args:
            phase: The phase.
            before: The weights at its start, from `snapshot`. They limit the rates where the phase has a largest step.
        """
        return {
            weight.path: _limited(phase.learning_rate[stage], before[weight.path], phase.largest_step)
            for stage, names in self.layers.items()
            if stage in phase.trains
            for name in names
            for weight in self.model.get_layer(name).trainable_weights
        }

    def cut(self, phase: Phase) -> CutModel | None:
        """Cuts the model where its frozen part ends.

        Where the whole backbone is frozen and images are not augmented, its output is the same in every step. So the
        frozen part runs once, and the rest is trained on its output.

        Returns:
            The two parts. `None` where the phase trains a stage of the backbone or augments images.
        """
        plan = self.plan
        if not phase.on_features:
            return None
        from strategies.networks.backend import keras

        end = self.layers[plan.last_stage][-1]
        if POOL in {layer.name for layer in self.model.layers}:
            end = POOL  # the classifier needs only pooled features
        middle = self.model.get_layer(end).output
        return CutModel(
            staged=self,
            phase=phase,
            frozen=keras.Model(self.model.input, middle),
            trained=keras.Model(middle, self.model.output),
        )

    def stage_features(
        self, inputs: Pixels, *, is_pretrained: bool, cache: FeatureCache | None, description: str
    ) -> list[np.ndarray]:
        """Returns the output of every stage, pooled to vectors: a list of `(num_images, channels)`.

        Args:
            inputs: The images.
            is_pretrained: Whether all stages are as they were pretrained. Then the features that the advice extracts
                are used where OpenVINO computes them.
            cache: Where these are kept, or `None`.
            description: Label of the progress bar.
        """
        plan = self.plan
        if (
            is_pretrained
            and cache is not None
            and plan.last_stage == plan.stages[-1].name
            and not plan.stages[-1].dense
        ):
            extractor = stage_extractor(plan.network, [stage.name for stage in plan.stages], cache=cache)
            if extractor.conversion is not None:
                return extractor.run(inputs, description=description)
        return forward(with_features(self.model, self.ends), inputs, description=description)[1:]

    def snapshot(self) -> dict[str, np.ndarray]:
        """Returns a copy of every weight, by path."""
        from strategies.networks.backend import keras

        return {weight.path: np.array(keras.ops.convert_to_numpy(weight.value)) for weight in self.model.weights}

    def moving_paths(self) -> set[str]:
        """Returns the paths of all weights that training changes: trainable weights and BatchNorm statistics."""
        statistics = (weight for norm in batch_norms(self.model) if norm.trainable for weight in norm.weights)
        return {weight.path for weight in (*self.model.trainable_weights, *statistics)}

    def check_frozen(self, phase: Phase, before: Mapping[str, np.ndarray]) -> None:
        """Checks that no frozen weight has changed since the start of a phase, bit for bit.

        Args:
            phase: The phase.
            before: The weights at its start, from `snapshot`.

        Raises:
            RuntimeError: If a frozen weight has changed, which is a defect of this software or of Keras.
        """
        from strategies.networks.backend import keras

        moving = self.moving_paths()
        for path, value in self.snapshot().items():
            if path not in moving and not np.array_equal(value, before[path]):
                raise RuntimeError(
                    f"A frozen weight has changed: {path} in phase {phase.name!r}. This is a defect of this software "
                    f"or of Keras {keras.__version__}, not of the data. The result cannot be trusted."
                )

    def finished(self) -> keras.Model:
        """Returns the trained model in float32, not compiled: it loads without this package and runs on any device."""
        from strategies.networks.backend import keras

        model = self.model
        if self.precision != "float32":
            trained = model.get_weights()
            model = build_model(self.plan)
            model.set_weights(trained)
        return keras.Model(model.input, model.output, name=self.plan.recipe)


@dataclass(frozen=True, kw_only=True, eq=False)
class CutModel:
    """A model that is cut into two parts for a phase.

    Attributes:
        staged: The whole model.
        phase: The phase that trains the second part.
        frozen: The first part, from images to features.
        trained: The second part, from features to probabilities.
    """

    staged: StagedModel
    phase: Phase
    frozen: keras.Model
    trained: keras.Model

    @property
    def outputs(self) -> list[str]:
        """Names of the output of the frozen part, for cache keys."""
        return [self.staged.plan.last_stage, "pooled" if len(self.frozen.output.shape) == 2 else "maps"]

    def features(
        self, inputs: Pixels | AugmentedViews, *, cache: FeatureCache | None, precision: str, description: str
    ) -> np.ndarray:
        """Returns the output of the frozen part for images, computed or read from the cache.

        Args:
            inputs: The images.
            cache: Where features are kept. `None` neither reads nor writes any.
            precision: Keras dtype policy of the model.
            description: Label of the progress bar.
        """
        plan = self.staged.plan
        last = plan.stages[-1]
        earlier = plan.phases[: plan.phases.index(self.phase)]
        trained = {stage for phase in earlier for stage in phase.trains}
        is_pretrained = not trained & {*plan.kept_stages, *plan.rebuilt_stages}
        if cache is not None and is_pretrained and precision == "float32" and self.outputs == [last.name, "pooled"]:
            # The advice extracts features with the same network: use its faster conversion and its cached features.
            extractor = stage_extractor(plan.network, [stage.name for stage in plan.stages], cache=cache)
            if not last.dense and extractor.conversion is not None:
                return extractor.run(inputs, description=description)[-1]
        (features,) = cached_forward(
            self.frozen,
            inputs,
            cache,
            backbone=plan.network.row.identity,
            outputs=self.outputs,
            precision=precision,
            description=description,
        )
        return features


def _limited(rate: float, values: np.ndarray, largest_step: float | None) -> float:
    """Returns the learning rate of a weight. In every step, Adam changes each of its values by about that much.

    Limits are rounded to a quarter of a power of two, so that one optimizer serves many kernels.
    """
    if largest_step is None or values.ndim < 2:
        return rate
    share = largest_step * float(np.sqrt(np.mean(np.square(values, dtype="float64")))) / rate
    return rate if share >= 1 else rate * 2 ** (round(4 * math.log2(max(share, 2**-10))) / 4)
