"""A frozen network and what is taken out of it: named without being built, run by the fastest engine, kept on disk."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.aside import Aside, import_openvino
from strategies.backbones import Backbone, get_backbone
from strategies.cache import FeatureCache, cached, make_key, weights_digest
from strategies.engines import CONVERTED_FOR, OpenVino, choose_engine, keras_backend
from strategies.layout import sink_transpositions
from strategies.pixels import PIXELS_VERSION, Part, Pixels
from strategies.weights import weights_path

if TYPE_CHECKING:
    import keras

    from strategies.batches import Views

Pass = Callable[[Any, str], list[np.ndarray]]
MOST_SEEN = 4_000  # images, whose rows are remembered for each network within a process
NETWORK_VERSION = 2  # to be raised with any change that changes what a row, a tap or a conversion gives


_SEEN: dict[str, dict[bytes, tuple[np.ndarray, ...]]] = {}  # by network, by content


@dataclass(frozen=True, kw_only=True)
class Tapped:
    """A network and what is taken out of it, as it is built.

    Args:
        backbone: A row.
        image_size: As in `build_backbone`; `weights` and `weights_size` too.
        weights: See `image_size`.
        weights_size: See `image_size`.
        tap: As in `TappedNetwork`.
    """

    backbone: Backbone
    image_size: int
    weights: str
    weights_size: int | None
    tap: Callable[[keras.Model], tuple[list[Any], list[np.ndarray]]]

    def build(self) -> tuple[keras.Model, list[np.ndarray]]:
        """Returns the model with what is taken out as its outputs, and the constants."""
        from strategies.pretrained import build_backbone

        network = build_backbone(
            self.backbone, image_size=self.image_size, weights=self.weights, weights_size=self.weights_size
        )
        import keras

        outputs, constants = self.tap(network)
        return keras.Model(network.input, outputs), constants

    def convert(self) -> list[np.ndarray]:
        """Converts it for OpenVINO, in float32 and for batches of `CONVERTED_FOR`; Keras' backend is OpenVINO.

        Returns:
            Structure and weights as bytes, two arrays of uint8, the width of each output, and the constants.
        """
        openvino = import_openvino()
        model, constants = self.build()
        import keras

        widths = np.array([one.shape[-1] for one in model.outputs])
        # One output: several would come out in an order that is not promised.
        together = model.outputs[0] if len(widths) == 1 else keras.ops.concatenate(model.outputs, axis=1)
        signature = [keras.InputSpec(shape=(CONVERTED_FOR, *model.input.shape[1:]), dtype="float32")]
        with tempfile.TemporaryDirectory(prefix="advisor-openvino-") as folder:
            exported, path = Path(folder, "exported.xml"), Path(folder, "network.xml")
            whole = keras.Model(model.input, together)
            whole.export(str(exported), format="openvino", verbose=False, input_signature=signature)
            network = openvino.Core().read_model(exported)
            sink_transpositions(network)
            openvino.save_model(network, path, compress_to_fp16=False)
            structure, weights = (np.fromfile(one, dtype="uint8") for one in (path, path.with_suffix(".bin")))
        return [structure, weights, widths, *constants]


@dataclass(frozen=True, kw_only=True)
class TappedNetwork:
    """A pretrained network, frozen, and what comes out of it.

    Where OpenVINO is the engine, the network is converted once, by another process, and kept in the cache under a key
    of the row, the content of its weights file, the input size and the taps. Neither Keras nor its backend is imported
    here then.

    Args:
        backbone: Name of a row.
        image_size: Side of the square input in pixels.
        weights: As in `strategies.extract_features`.
        taps: Names of what comes out, for keys.
        tap: Returns from the built network what comes out of it, a vector per image each, and constants that belong to
            it. A function of a module, or a `functools.partial` of one, since it goes to another process.
        cache: Where the network and what it says of images are kept; with `None` Keras computes and nothing is kept.
        weights_size: As in `build_backbone`.
    """

    backbone: str
    image_size: int
    weights: str
    taps: tuple[str, ...]
    tap: Callable[[keras.Model], tuple[list[Any], list[np.ndarray]]]
    cache: FeatureCache | None
    weights_size: int | None = None

    def run(self, inputs: np.ndarray | Pixels | Views, *, description: str) -> list[np.ndarray]:
        """Returns what comes out for images, one array per tap, from the cache if it is there.

        Args:
            inputs: Images of the input size; those of an array, which has no identity, are not kept.
            description: What a progress bar says.
        """
        if isinstance(inputs, np.ndarray):
            return self._pass(inputs, description)

        def key() -> str:
            return make_key(**inputs.identity(), pixels_version=PIXELS_VERSION, **self._identity, engine=self._engine)

        return cached(self._kept_in, key, len(inputs), lambda: self._compute(inputs, description))

    def _compute(self, inputs: Pixels | Views, description: str) -> list[np.ndarray]:
        """Sends those images through the network that this process has not sent through it before."""
        if self._kept_in is None or not isinstance(inputs, Pixels) or len(inputs) > MOST_SEEN:
            return self._pass(inputs, description)
        rows = _SEEN.setdefault(make_key(**self._identity, engine=self._engine), {})
        if len(rows) + len(inputs) > MOST_SEEN:
            rows.clear()
        new = {digest: index for index, digest in enumerate(inputs.digests) if digest not in rows}
        if new:
            values = self._pass(Part(inputs, list(new.values())), description)
            rows |= zip(new, zip(*values, strict=True), strict=True)
            if len(new) == len(inputs):
                return values
        return [np.stack(column) for column in zip(*(rows[digest] for digest in inputs.digests), strict=True)]

    @property
    def constants(self) -> list[np.ndarray]:
        """The constants that belong to the network, such as statistics of its layers."""
        return self._built[1] if self._converted is None else self._converted[3:]

    @property
    def _kept_in(self) -> FeatureCache | None:
        """Random weights are others each time: nothing to be kept."""
        return None if self.weights == "random" or self.cache is None or not self.cache.max_bytes else self.cache

    @cached_property
    def _file(self) -> Any:
        return weights_path(get_backbone(self.backbone), self.weights, self.image_size, self.weights_size)

    @cached_property
    def _engine(self) -> str:
        """Without a cache the conversion would cost more than it saves; without a file it could not be found again."""
        convertible = self._kept_in is not None and self._file is not None
        return "openvino" if convertible and choose_engine() == "openvino" else keras_backend()

    @cached_property
    def _identity(self) -> dict[str, Any]:
        if self._file is None:
            weights = weights_digest(self._built[0].get_weights())
        else:
            with self._file.open("rb") as file:
                weights = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "network_version": NETWORK_VERSION,
            "backbone": self.backbone,
            "taps": list(self.taps),
            "network_size": self.image_size,
            "weights": weights,
        }

    @property
    def _tapped(self) -> Tapped:
        return Tapped(
            backbone=get_backbone(self.backbone),
            image_size=self.image_size,
            weights=self.weights,
            weights_size=self.weights_size,
            tap=self.tap,
        )

    @cached_property
    def _built(self) -> tuple[keras.Model, list[np.ndarray]]:
        return self._tapped.build()

    @cached_property
    def conversion(self) -> Aside | None:
        """The network for OpenVINO; `None` where Keras computes."""
        if self._engine != "openvino" or self._kept_in is None:
            return None
        key = make_key(**self._identity, converted_by=version("openvino"))
        return Aside(key=key, cache=self._kept_in, make=self._tapped.convert)

    @cached_property
    def _pass(self) -> Pass:
        """What runs the network."""
        if self._converted is not None:
            return OpenVino(*self._converted[:3])
        from strategies.features import forward

        model, _ = self._built
        return lambda inputs, description: forward(model, inputs, description=description)

    @cached_property
    def _converted(self) -> list[np.ndarray] | None:
        """What `Tapped.convert` returns; `None` where Keras computes."""
        if self.conversion is None:
            return None
        try:
            arrays, new = self.conversion.arrays()
        except RuntimeError as error:
            print(f"OpenVINO cannot convert {self.backbone} ({error}): Keras computes instead.", file=sys.stderr)
            return None
        if new:
            size = sum(array.nbytes for array in arrays) / 1e6
            print(
                f"Converted {self.backbone} at {self.image_size} px for OpenVINO and kept it in the cache "
                f"({size:,.1f} MB in {self.conversion.cache.folder})",
                file=sys.stderr,
            )
        return arrays
