"""What computes a frozen pass: Keras, or OpenVINO on a CPU, where it is installed several times faster."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.errors import UserError
from strategies.progress import track
from strategies.startup import start_keras

if TYPE_CHECKING:
    import keras

    from strategies.batches import Views
    from strategies.pixels import Part, Pixels

BATCH_SIZE = 32
ENGINES = ("auto", "keras", "openvino")
GPU_DEVICES = ("/dev/nvidia0", "/dev/dxg", "/dev/kfd")  # Linux, Windows' Linux, AMD: only then is Keras asked


def choose_engine() -> str:
    """Returns what computes frozen passes here: `"openvino"` where it is installed and there is no GPU, else `"keras"`.

    The environment variable `ADVISOR_ENGINE` overrules it: `keras` turns OpenVINO off, `openvino` insists on it.
    Networks are converted by TensorFlow, so with another backend of Keras it is Keras.

    Raises:
        UserError: If the variable says something else, or OpenVINO cannot be had where it is insisted on.

    Example:
        >>> from strategies.engines import choose_engine
        >>> choose_engine() in ("keras", "openvino")
        True
    """
    wanted = os.environ.get("ADVISOR_ENGINE") or "auto"
    if wanted not in ENGINES:
        raise UserError(
            f"Expected {', '.join(ENGINES)} in the environment variable ADVISOR_ENGINE. Received: {wanted!r}. "
            f"Set it to one of them, or unset it."
        )
    if wanted == "keras":
        return "keras"
    installed, backend = find_spec("openvino") is not None, keras_backend()
    if wanted == "openvino":
        if not installed or backend != "tensorflow":
            received = "an environment without it" if not installed else f"{backend} as Keras' backend"
            raise UserError(
                f"Expected OpenVINO and TensorFlow for ADVISOR_ENGINE=openvino. Received: {received}. "
                f"Install OpenVINO with pip install 'transfer-advisor[openvino]', or unset the variable."
            )
        return "openvino"
    return "openvino" if installed and backend == "tensorflow" and not _computes_on_gpu() else "keras"


def keras_backend() -> str:
    """Returns the name of Keras' backend without importing it."""
    if "keras" in sys.modules:
        import keras

        return str(keras.backend.backend())
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    try:
        settings = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "keras.json"
        return str(json.loads(settings.read_text(encoding="utf-8")).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


def _computes_on_gpu() -> bool:
    if not any(map(os.path.exists, GPU_DEVICES)):
        return False
    start_keras()
    from strategies.features import has_gpu

    return has_gpu()


def _openvino() -> Any:
    """Imports OpenVINO without the package by which it reports its use to its makers; it does without."""
    if "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules["openvino_telemetry"]
    import openvino

    return openvino


def convert(model: keras.Model) -> list[np.ndarray]:
    """Converts a Keras model for OpenVINO, in float32 and for batches of 32.

    Args:
        model: A model of one input; each of its outputs is a vector per image. Its backend is TensorFlow.

    Returns:
        Structure and weights as bytes, two arrays of uint8, and the width of each output.
    """
    import tensorflow as tf

    openvino = _openvino()

    @tf.function(input_signature=[tf.TensorSpec((BATCH_SIZE, *model.input.shape[1:]), tf.float32)])
    def run(images: Any) -> Any:
        # One output: several come out of the conversion in another order than they went in.
        return tf.concat(tf.nest.flatten(model(images, training=False)), axis=1)

    converted = openvino.convert_model(run.get_concrete_function())
    with tempfile.TemporaryDirectory(prefix="advisor-openvino-") as folder:
        path = Path(folder, "network.xml")
        openvino.save_model(converted, path, compress_to_fp16=False)
        structure, weights = (np.fromfile(one, dtype="uint8") for one in (path, path.with_suffix(".bin")))
    return [structure, weights, np.array([one.shape[-1] for one in model.outputs])]


class OpenVino:
    """A converted network, ready to run on the CPU.

    Args:
        structure: What `convert` returned; `weights` and `widths` too.
        weights: See `structure`.
        widths: See `structure`.
    """

    def __init__(self, structure: np.ndarray, weights: np.ndarray, widths: np.ndarray) -> None:
        self._openvino = _openvino()
        core = self._openvino.Core()
        network = core.read_model(structure.tobytes(), weights.tobytes())
        # Some processors would compute in bfloat16 unless they are told not to.
        hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
        self._network, self._widths = core.compile_model(network, "CPU", hints), widths
        self._num_requests = int(self._network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def __call__(self, inputs: np.ndarray | Pixels | Part | Views, description: str) -> list[np.ndarray]:
        """Runs it once over images, as `strategies.features.forward` does with a Keras model.

        Args:
            inputs: Images, shape `(num_images, height, width, 3)`.
            description: What a progress bar says.
        """
        values = np.empty((len(inputs), int(self._widths.sum())), dtype="float32")
        # As many batches at work as suit the processor; the next images are decoded meanwhile. No callbacks: a thread
        # of OpenVINO that waits for Python while Python waits for OpenVINO would wait for ever.
        requests = [self._network.create_infer_request() for _ in range(self._num_requests)]
        under_way: deque[tuple[Any, int]] = deque()

        def finish() -> Any:
            request, start = under_way.popleft()
            request.wait()
            part = values[start : start + BATCH_SIZE]
            part[:] = request.get_output_tensor().data[: len(part)]
            return request

        for start in track(range(0, len(values), BATCH_SIZE), description):
            batch = padded(inputs[start : start + BATCH_SIZE])
            request = requests.pop() if requests else finish()
            request.start_async([batch])
            under_way.append((request, start))
        while under_way:
            finish()
        return np.split(values, np.cumsum(self._widths)[:-1], axis=1)


def padded(images: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Returns a batch of 32 as float32; a shorter one is filled up with its first image, so shapes stay the same."""
    batch = np.asarray(images, dtype="float32")
    missing = BATCH_SIZE - len(batch)
    return np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)]) if missing else batch
