"""Inference engines for frozen networks: Keras, or OpenVINO, which is several times faster on a CPU."""

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
from strategies.processes import limited_cores

if TYPE_CHECKING:
    from strategies.data.batches import Views
    from strategies.data.pixels import Pixels, PixelSubset

IMAGES_PER_REQUEST = 4  # as many as fit into a CPU's cache; with 32, depthwise networks take twice as long
ENGINES = ("auto", "keras", "openvino")
GPU_DEVICES = (
    "/dev/nvidia0",
    "/dev/dxg",
    "/dev/kfd",
)  # Linux, WSL, AMD; Keras looks for a GPU only if one exists


def import_openvino() -> Any:
    """Imports OpenVINO without its telemetry package, which would report its use. OpenVINO works without it."""
    if "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules["openvino_telemetry"]
    import openvino

    return openvino


def choose_engine() -> str:
    """Returns the engine for frozen networks: `"openvino"` if it is installed and there is no GPU, otherwise `"keras"`.

    The environment variable `ADVISOR_ENGINE` overrides this choice: `keras` turns OpenVINO off, `openvino` requires it.

    Raises:
        UserError: If the variable has another value, or if it requires OpenVINO and that is not installed.

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
    """A network that was converted for OpenVINO, ready to run on the CPU.

    Args:
        structure: The graph of the network: an XML file as uint8.
        weights: The weights of the network: a binary file as uint8.
        widths: Number of features of each output.
    """

    def __init__(self, structure: np.ndarray, weights: np.ndarray, widths: np.ndarray) -> None:
        core = import_openvino().Core()
        network = core.read_model(structure.tobytes(), weights.tobytes())
        # Without this hint, some CPUs compute in bfloat16.
        hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
        if (cores := limited_cores()) is not None:
            hints["INFERENCE_NUM_THREADS"] = cores  # the number changes no bit of the result
        self._arguments = structure, weights, widths
        self._network, self._widths = core.compile_model(network, "CPU", hints), widths
        self._num_requests = int(self._network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def __reduce__(self) -> tuple[type[OpenVino], tuple[np.ndarray, ...]]:
        return OpenVino, self._arguments  # another process compiles it for its own cores

    def __call__(self, inputs: np.ndarray | Pixels | PixelSubset | Views, description: str) -> list[np.ndarray]:
        """Runs the network once over images and returns its outputs, one array each.

        Args:
            inputs: Images of shape `(num_images, height, width, channels)`.
            description: Label of the progress bar.

        Returns:
            A list with one float32 array of shape `(num_images, width)` per output.
        """
        values = np.empty((len(inputs), int(self._widths.sum())), dtype="float32")
        # As many requests run at once as suit the CPU; meanwhile the next images are decoded. No callbacks are used: a
        # thread of OpenVINO that waits for Python, while Python waits for OpenVINO, would never continue.
        requests = [self._network.create_infer_request() for _ in range(self._num_requests)]
        tensors = [request.get_input_tensor().data for request in requests]
        running: deque[tuple[int, int]] = deque()

        def finish() -> int:
            number, start = running.popleft()
            requests[number].wait()
            part = values[start : start + IMAGES_PER_REQUEST]
            part[:] = requests[number].get_output_tensor().data[: len(part)]
            return number

        idle = list(range(len(requests)))
        for start in track(range(0, len(values), BATCH_SIZE), description):
            images = inputs[start : start + BATCH_SIZE]
            for offset in range(0, len(images), IMAGES_PER_REQUEST):
                number = idle.pop() if idle else finish()
                part = images[offset : offset + IMAGES_PER_REQUEST]
                tensors[number][: len(part)] = part  # images of an earlier batch may remain behind it
                requests[number].start_async()
                running.append((number, start + offset))
        while running:
            finish()
        return np.split(values, np.cumsum(self._widths)[:-1], axis=1)
