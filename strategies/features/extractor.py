"""`FeatureExtractor`: a frozen pretrained network and its outputs, run by the fastest engine and cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.data.channels import RGB
from strategies.data.decoding import PIXELS_VERSION
from strategies.data.digests import file_digest, weights_digest
from strategies.data.pixels import Pixels, PixelSubset
from strategies.display.progress import note
from strategies.features.background import BackgroundJob
from strategies.features.cache import FeatureCache, cached, make_key
from strategies.features.conversion import convert_model
from strategies.features.engines import OpenVino, choose_engine
from strategies.features.forward import Engine, forward, run_pass
from strategies.networks.backend import keras_backend, usual_settings
from strategies.networks.network import PretrainedNetwork
from strategies.networks.pretrained import build_network
from strategies.networks.weights import weights_path

if TYPE_CHECKING:
    import keras

    from strategies.data.batches import Views

Pass = Callable[[Any, str], list[np.ndarray]]
# Takes a built network. Returns its outputs, each one vector per image, and constants that belong to the network.
SelectOutputs = Callable[["keras.Model"], tuple[list[Any], list[np.ndarray]]]
MAX_REMEMBERED = 4_000  # images per network whose outputs a process keeps in memory
NETWORK_VERSION = 3  # increase it when a change of a row, an output or the conversion changes the features

_REMEMBERED: dict[str, dict[bytes, tuple[np.ndarray, ...]]] = {}  # by network, then by content of the image


@dataclass(frozen=True, kw_only=True)
class FeatureExtractor:
    """A frozen pretrained network and the outputs that are computed with it.

    With OpenVINO as the engine, the network is converted once, in a background process, and cached. The key of the
    cache entry is made from the row, the content of the weights file, the input size and the outputs. This process then
    imports neither Keras nor its backend.

    Args:
        network: The pretrained network.
        outputs: Names of the outputs, for cache keys.
        select: Function that takes the built network and returns its outputs and constants. It is sent to another
            process, so it must be a function of a module, or a `functools.partial` of one.
        cache: The cache for the converted network and the outputs. With `None`, Keras computes and nothing is kept.
        weights_size: As in `build_backbone`.
    """

    network: PretrainedNetwork
    outputs: tuple[str, ...]
    select: SelectOutputs
    cache: FeatureCache | None
    weights_size: int | None = None

    def run(self, inputs: np.ndarray | Pixels | Views, *, description: str) -> list[np.ndarray]:
        """Returns every output for images, computed or read from the cache.

        Args:
            inputs: Images of the input size. Outputs for an array are not cached, since it has no digests.
            description: Label of the progress bar.

        Returns:
            A list with one array of shape `(num_images, num_features)` per output.
        """
        if isinstance(inputs, np.ndarray):
            return self._pass(inputs, description)

        def key() -> str:
            return make_key(**inputs.identity(), pixels_version=PIXELS_VERSION, **self._identity, engine=self._engine)

        return cached(self._used_cache, key, len(inputs), lambda: self._compute(inputs, description))

    def _compute(self, inputs: Pixels | Views, description: str) -> list[np.ndarray]:
        """Runs the network only on images that this process has not run it on before."""
        if self._used_cache is None or not isinstance(inputs, Pixels) or len(inputs) > MAX_REMEMBERED:
            return self._pass(inputs, description)
        rows = _REMEMBERED.setdefault(make_key(**self._identity, engine=self._engine), {})
        if len(rows) + len(inputs) > MAX_REMEMBERED:
            rows.clear()
        new = {digest: index for index, digest in enumerate(inputs.digests) if digest not in rows}
        if new:
            values = self._pass(PixelSubset(inputs, list(new.values())), description)
            rows |= zip(new, zip(*values, strict=True), strict=True)
            if len(new) == len(inputs):
                return values
        return [np.stack(column) for column in zip(*(rows[digest] for digest in inputs.digests), strict=True)]

    @property
    def constants(self) -> list[np.ndarray]:
        """Constants that belong to the network, such as statistics of its layers."""
        return self._built[1] if self._converted is None else self._converted[3:]

    @property
    def _used_cache(self) -> FeatureCache | None:
        """The cache, or `None`: random weights differ each time, so their features are not kept."""
        kept = self.network.weights != "random" and self.cache is not None and self.cache.max_bytes
        return self.cache if kept else None

    @cached_property
    def _file(self) -> Path | None:
        return weights_path(self.network, self.weights_size)

    @cached_property
    def _engine(self) -> str:
        """OpenVINO needs a cache, since the conversion is slow, and a weights file, which identifies the network."""
        convertible = self._used_cache is not None and self._file is not None
        return "openvino" if convertible and choose_engine() == "openvino" else keras_backend()

    @cached_property
    def _identity(self) -> dict[str, Any]:
        file = self._file
        weights = weights_digest(self._built[0].get_weights()) if file is None else file_digest(file)
        network = self.network
        bands = {} if network.num_channels == RGB else {"channels": network.num_channels, "mixing": network.mixing}
        return {
            "network_version": NETWORK_VERSION,
            "backbone": self.network.row.identity,
            "taps": list(self.outputs),
            "network_size": self.network.image_size,
            "weights": weights,
            **bands,
        }

    @cached_property
    def _built(self) -> tuple[keras.Model, list[np.ndarray]]:
        return _build(self.network, self.weights_size, self.select)

    @cached_property
    def conversion(self) -> BackgroundJob | None:
        """The background job that converts the network for OpenVINO; `None` if Keras computes."""
        if self._engine != "openvino" or self._used_cache is None:
            return None
        key = make_key(**self._identity, converted_by=version("openvino"))
        convert = partial(_convert, self.network, self.weights_size, self.select)
        return BackgroundJob(key=key, cache=self._used_cache, make=convert)

    @cached_property
    def _pass(self) -> Pass:
        """The function that runs the network on images."""
        converted = self._converted
        engine: Engine = partial(forward, self._built[0]) if converted is None else OpenVino(*converted[:3])
        return partial(run_pass, engine)

    @cached_property
    def _converted(self) -> list[np.ndarray] | None:
        """The result of `_convert`; `None` if Keras computes."""
        if self.conversion is None:
            return None
        try:
            arrays, new = self.conversion.arrays()
        except RuntimeError as error:
            note(f"OpenVINO cannot convert {self.network.backbone} ({error}): Keras computes instead.")
            return None
        if new:
            size = sum(array.nbytes for array in arrays) / 1e6
            note(
                f"Converted {self.network} for OpenVINO and kept it in the cache "
                f"({size:,.1f} MB in {self.conversion.cache.folder})"
            )
        return arrays


@usual_settings()
def _build(
    network: PretrainedNetwork, weights_size: int | None, select: SelectOutputs
) -> tuple[keras.Model, list[np.ndarray]]:
    """Returns the Keras model with the selected outputs, and the constants."""
    built = build_network(network, weights_size=weights_size)
    from strategies.networks.backend import keras

    outputs, constants = select(built)
    return keras.Model(built.input, outputs), constants


@usual_settings()
def _convert(network: PretrainedNetwork, weights_size: int | None, select: SelectOutputs) -> list[np.ndarray]:
    """Converts a network for OpenVINO: the arguments of `OpenVino`, then the constants."""
    model, constants = _build(network, weights_size, select)
    return [*convert_model(model), *constants]
