"""What computes a frozen pass: Keras, or OpenVINO on a CPU, where it is installed several times faster."""

from __future__ import annotations

import os
import sys
from collections import deque
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.display.progress import track
from strategies.errors import UserError
from strategies.features.forward import BATCH_SIZE
from strategies.networks.backend import has_gpu, start_keras

if TYPE_CHECKING:
    from strategies.data.batches import AugmentedViews
    from strategies.data.pixels import Pixels, PixelSubset

IMAGES_PER_REQUEST = 4  # images at once: what a processor's own cache holds; 32 take depthwise networks twice as long
ENGINES = ("auto", "keras", "openvino")
GPU_DEVICES = ("/dev/nvidia0", "/dev/dxg", "/dev/kfd")  # Linux, Windows' Linux, AMD: only then is Keras asked


def import_openvino() -> Any:
    """Imports OpenVINO without the package by which it reports its use to its makers; it does without."""
    if "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules["openvino_telemetry"]
    import openvino

    return openvino


def choose_engine() -> str:
    """Returns what computes frozen passes here: `"openvino"` where it is installed and there is no GPU, else `"keras"`.

    The environment variable `ADVISOR_ENGINE` overrules it: `keras` turns OpenVINO off, `openvino` insists on it.

    Raises:
        UserError: If the variable says something else, or OpenVINO is not installed where it is insisted on.

    Example:
        >>> from strategies.features.engines import choose_engine
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
    installed = find_spec("openvino") is not None
    if wanted == "openvino":
        if not installed:
            raise UserError(
                "Expected OpenVINO for ADVISOR_ENGINE=openvino. Received: an environment without it. "
                "Install it with pip install 'transfer-advisor[openvino]', or unset the variable."
            )
        return "openvino"
    return "openvino" if installed and not _computes_on_gpu() else "keras"


def _computes_on_gpu() -> bool:
    if not any(map(os.path.exists, GPU_DEVICES)):
        return False
    start_keras()
    return has_gpu()


class OpenVino:
    """A converted network, ready to run on the CPU.

    Args:
        structure: What `strategies.features.extractor.Tapped.convert` returned; `weights` and `widths` too.
        weights: See `structure`.
        widths: See `structure`.
    """

    def __init__(self, structure: np.ndarray, weights: np.ndarray, widths: np.ndarray) -> None:
        core = import_openvino().Core()
        network = core.read_model(structure.tobytes(), weights.tobytes())
        # Some processors would compute in bfloat16 unless they are told not to.
        hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
        self._network, self._widths = core.compile_model(network, "CPU", hints), widths
        self._num_requests = int(self._network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def __call__(
        self, inputs: np.ndarray | Pixels | PixelSubset | AugmentedViews, description: str
    ) -> list[np.ndarray]:
        """Runs it once over images, as `strategies.features.forward.forward` does with a Keras model.

        Args:
            inputs: Images, shape `(num_images, height, width, 3)`.
            description: What a progress bar says.
        """
        values = np.empty((len(inputs), int(self._widths.sum())), dtype="float32")
        # As many batches at work as suit the processor; the next images are decoded meanwhile. No callbacks: a thread
        # of OpenVINO that waits for Python while Python waits for OpenVINO would wait for ever.
        requests = [self._network.create_infer_request() for _ in range(self._num_requests)]
        tensors = [request.get_input_tensor().data for request in requests]
        under_way: deque[tuple[int, int]] = deque()

        def finish() -> int:
            number, start = under_way.popleft()
            requests[number].wait()
            part = values[start : start + IMAGES_PER_REQUEST]
            part[:] = requests[number].get_output_tensor().data[: len(part)]
            return number

        idle = list(range(len(requests)))
        for start in track(range(0, len(values), BATCH_SIZE), description):
            images = inputs[start : start + BATCH_SIZE]
            for within in range(0, len(images), IMAGES_PER_REQUEST):
                number = idle.pop() if idle else finish()
                part = images[within : within + IMAGES_PER_REQUEST]
                tensors[number][: len(part)] = part  # what is left of an earlier batch behind it is of no account
                requests[number].start_async()
                under_way.append((number, start + within))
        while under_way:
            finish()
        return np.split(values, np.cumsum(self._widths)[:-1], axis=1)
