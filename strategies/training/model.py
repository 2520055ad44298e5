"""Plan -> Keras model whose layers are known by stage; the only place that sets `trainable`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from strategies.features.cache import FeatureCache
from strategies.features.extraction import stage_extractor
from strategies.features.forward import cached_forward
from strategies.networks.backend import has_gpu
from strategies.networks.pretrained import build_network, stage_layers
from strategies.plans.phase import NewLayer, Phase
from strategies.plans.plan import Plan

if TYPE_CHECKING:
    import keras

    from strategies.data.batches import AugmentedViews
    from strategies.data.pixels import Pixels

POOL = "pool"  # name of the layer that averages over the image plane


def resolve_precision(precision: str) -> str:
    """Returns the Keras dtype policy that a plan's `precision` means here: `auto` is mixed precision on a GPU."""
    if precision != "auto":
        return precision
    return "mixed_float16" if has_gpu() else "float32"


def build_model(plan: Plan, *, precision: str = "float32") -> keras.Model:
    """Builds the model of a plan: what it keeps of the backbone with pretrained weights, and its new layers on top.

    The model takes RGB pixels 0-255 of shape `(image_size, image_size, 3)`, holds its own scaling and returns one
    probability per class. It is flat (no model within the model), so layers are found by name. New layers start from
    random values: call `keras.utils.set_random_seed` first if they must be the same each time, as `train` does.

    Args:
        plan: What to build.
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
    import keras

    last = plan.last_stage
    dense = next(stage.dense for stage in plan.stages if stage.name == last)
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy(precision)  # which keras.applications builds by
    try:
        backbone = build_network(plan.network, dense=dense, last_stage=last)
        outputs = backbone.output
        for layer in plan.new_layers:
            outputs = _add_layer(outputs, layer)
        return keras.Model(backbone.input, outputs, name=plan.recipe)
    finally:
        keras.mixed_precision.set_global_policy(policy)


def _add_layer(inputs: keras.KerasTensor, layer: NewLayer) -> keras.KerasTensor:
    from keras import layers

    if layer.kind == "separable_conv":
        convolution = layers.SeparableConv2D(layer.units, 3, padding="same", use_bias=False, name=f"{layer.name}_conv")
        outputs = layers.BatchNormalization(name=f"{layer.name}_bn")(convolution(inputs))
        return layers.ReLU(name=f"{layer.name}_relu")(outputs)
    outputs = layers.GlobalAveragePooling2D(name=POOL)(inputs) if len(inputs.shape) == 4 else inputs
    if layer.dropout:
        outputs = layers.Dropout(layer.dropout, name=f"{layer.name}_dropout")(outputs)
    return layers.Dense(layer.units, activation="softmax", dtype="float32", name=layer.name)(outputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class StagedModel:
    """The Keras model of a plan, and which of its layers belong to which stage.

    Attributes:
        plan: What the model was built from.
        model: What `build_model` returned, or the same model loaded again.
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
        """Names of the layers by stage, new stages included; input, scaling and pooling are in none."""
        owners = stage_layers(self.model, self.plan.network.row)
        found = {stage: names for stage, names in owners.items() if stage in self.plan.built_stages}
        names = [layer.name for layer in self.model.layers]
        for new in self.plan.new_layers:
            parts = {new.name, *(f"{new.name}_{part}" for part in ("conv", "bn", "relu", "dropout"))}
            found[new.name] = tuple(name for name in names if name in parts)
        return found

    def start_phase(self, phase: Phase) -> None:
        """Sets `trainable` of every layer, and the momentum of every BatchNormalization, as the phase says.

        BatchNormalization in inference mode is a frozen layer: in Keras 3.15 `training=False` at the call does not hold
        its statistics during `fit`. Compile afterwards, with an optimizer that was not used before.
        """
        from keras.layers import BatchNormalization

        owner = {name: stage for stage, names in self.layers.items() for name in names}
        for layer in self.model.layers:
            stage = owner.get(layer.name)
            layer.trainable = stage in phase.trains
            if isinstance(layer, BatchNormalization) and layer.trainable:
                policy = phase.batch_norm.get(str(stage), {"mode": "inference"})
                layer.trainable = policy["mode"] == "train"
                if layer.trainable:
                    layer.momentum = policy["momentum"]

    def learning_rates(self, phase: Phase) -> dict[str, float]:
        """Returns the peak learning rate of every trainable weight, by its path."""
        return {
            weight.path: phase.learning_rate[stage]
            for stage, names in self.layers.items()
            if stage in phase.trains
            for name in names
            for weight in self.model.get_layer(name).trainable_weights
        }

    def cut(self, phase: Phase) -> CutModel | None:
        """Cuts the model where its frozen part ends; `None` unless all of the backbone is frozen and nothing augmented.

        The frozen part is then the same in every step: it runs once, and the rest is trained on its output.
        """
        plan = self.plan
        backbone = {*plan.kept_stages, *plan.rebuilt_stages}
        if phase.augmented or backbone & set(phase.trains):
            return None
        import keras

        end = self.layers[plan.last_stage][-1]
        if len(plan.new_layers) == 1 and POOL in {layer.name for layer in self.model.layers}:
            end = POOL  # with only the classifier on top, its pooled input is all that is needed
        middle = self.model.get_layer(end).output
        return CutModel(
            staged=self,
            phase=phase,
            frozen=keras.Model(self.model.input, middle),
            trained=keras.Model(middle, self.model.output),
        )

    def snapshot(self) -> dict[str, np.ndarray]:
        """Returns a copy of every weight, by path."""
        from keras.ops import convert_to_numpy

        return {weight.path: np.array(convert_to_numpy(weight.value)) for weight in self.model.weights}

    def moving_paths(self) -> set[str]:
        """Returns the paths of all weights that training changes: trainable ones, and moving statistics that move."""
        from keras.layers import BatchNormalization

        norms = (layer for layer in self.model.layers if isinstance(layer, BatchNormalization) and layer.trainable)
        statistics = (weight for layer in norms for weight in layer.weights)
        return {weight.path for weight in (*self.model.trainable_weights, *statistics)}

    def check_frozen(self, phase: Phase, before: Mapping[str, np.ndarray]) -> None:
        """Checks against the weights at the start of a phase that all frozen ones are the same, bit for bit.

        Raises:
            RuntimeError: If one has changed: a defect of this software or of Keras.
        """
        import keras

        moving = self.moving_paths()
        for path, value in self.snapshot().items():
            if path not in moving and not np.array_equal(value, before[path]):
                raise RuntimeError(
                    f"A frozen weight has moved: {path} in phase {phase.name!r}. This is a defect of this software "
                    f"or of Keras {keras.__version__}, not of the data; the result cannot be trusted."
                )

    def finished(self) -> keras.Model:
        """Returns the trained model in float32 and not compiled: it loads without this package and runs anywhere."""
        import keras

        model = self.model
        if self.precision != "float32":
            trained = model.get_weights()
            model = build_model(self.plan)
            model.set_weights(trained)
        return keras.Model(model.input, model.output, name=self.plan.recipe)


@dataclass(frozen=True, kw_only=True, eq=False)
class CutModel:
    """A model in two parts: `frozen`, from the images to features, and `trained`, from features to probabilities."""

    staged: StagedModel
    phase: Phase
    frozen: keras.Model
    trained: keras.Model

    @property
    def outputs(self) -> list[str]:
        """Names the output of the frozen part, for cache keys."""
        return [self.staged.plan.last_stage, "pooled" if len(self.frozen.output.shape) == 2 else "maps"]

    def features(
        self, inputs: Pixels | AugmentedViews, *, cache: FeatureCache | None, precision: str, description: str
    ) -> np.ndarray:
        """Sends images through the frozen part, or reads its output from the cache.

        Args:
            inputs: Images.
            cache: `None` keeps nothing and reads nothing.
            precision: What the model computes in.
            description: Label of the progress bar.
        """
        plan = self.staged.plan
        last = plan.stages[-1]
        earlier = plan.phases[: plan.phases.index(self.phase)]
        trained = {stage for phase in earlier for stage in phase.trains}
        is_pretrained = not trained & {*plan.kept_stages, *plan.rebuilt_stages}
        if cache is not None and is_pretrained and precision == "float32" and self.outputs == [last.name, "pooled"]:
            # The network that the advice has sent images through: its faster form and its answers may be cached.
            extractor = stage_extractor(plan.network, [stage.name for stage in plan.stages], cache=cache)
            if not last.dense and extractor.conversion is not None:
                return extractor.run(inputs, description=description)[-1]
        (features,) = cached_forward(
            self.frozen,
            inputs,
            cache,
            backbone=plan.backbone,
            outputs=self.outputs,
            precision=precision,
            description=description,
        )
        return features
