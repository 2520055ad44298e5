"""Removal of transposes from OpenVINO graphs."""

import numpy as np
import pytest

openvino = pytest.importorskip("openvino")
from openvino import opset13 as ops  # noqa: E402

from strategies.features.transposes import sink_transposes  # noqa: E402

TO_LAST, TO_FIRST, SWAPPED = [0, 2, 3, 1], [0, 3, 1, 2], [0, 3, 2, 1]


def _transpose(value, order):
    return ops.transpose(value, np.array(order))


def _convolve(value, generator, channels):
    kernel = generator.normal(size=(channels, value.get_output_shape(0)[3], 1, 1)).astype("float32")
    first = ops.convolution(_transpose(value, TO_FIRST), kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    return _transpose(first, TO_LAST)


def _normalize(value, generator):
    size = value.get_output_shape(0)[3]
    parts = [ops.constant(generator.uniform(0.5, 2, size).astype("float32")) for _ in range(4)]
    return _transpose(ops.batch_norm_inference(_transpose(value, SWAPPED), *parts, 1e-3), SWAPPED)


BLOCKS = {
    "activation": lambda value, generator: ops.relu(value),
    "normalization": _normalize,
    "bias": lambda value, generator: ops.add(
        value, generator.normal(size=value.get_output_shape(0)[3]).astype("float32")
    ),
    "bias of rank 4": lambda value, generator: ops.add(
        value, generator.normal(size=(1, 1, 1, value.get_output_shape(0)[3])).astype("float32")
    ),
    "number": lambda value, generator: ops.multiply(value, np.float32(0.5)),
    "itself": lambda value, generator: ops.multiply(value, value),
    "residual": lambda value, generator: ops.add(value, _convolve(value, generator, value.get_output_shape(0)[3])),
    "concat": lambda value, generator: ops.concat([value, _convolve(value, generator, 2)], -1),
    "concat of rows": lambda value, generator: ops.concat([value, ops.relu(value)], 1),
    "pad": lambda value, generator: ops.pad(value, np.array([0, 1, 2, 0]), np.array([0, 0, 1, 0]), "constant"),
    "excitation": lambda value, generator: ops.multiply(
        value, ops.sigmoid(ops.reduce_mean(value, np.array([1, 2]), True))
    ),
    "mean of channels": lambda value, generator: ops.subtract(value, ops.reduce_mean(value, np.array([3]), True)),
}
KNOWN = tuple(BLOCKS)
BLOCKS |= {
    "unknown": lambda value, generator: ops.cum_sum(value, np.array(3)),
    "row": lambda value, generator: ops.matmul(
        value, np.eye(value.get_output_shape(0)[3], dtype="float32"), False, False
    ),
}


def _run(model, images):
    """Returns the outputs of a graph, and the number of transposes in the compiled graph."""
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    layers = [str(node.get_rt_info()["layerType"].value) for node in compiled.get_runtime_model().get_ops()]
    return list(compiled([images]).values()), layers.count("Transpose")


@pytest.mark.parametrize("name", BLOCKS)
def test_a_graph_gives_the_same_output_afterwards(name):
    """With each block between two convolutions, and with an output in the middle."""
    generator = np.random.default_rng(0)
    images = ops.parameter([2, 6, 5, 3], np.float32)
    value = BLOCKS[name](_convolve(images, generator, 4), generator)
    end = ops.relu(_convolve(value, generator, 4))
    read = [ops.reduce_mean(output, np.array([1, 2]), False) for output in (value, end)]
    model = openvino.Model([ops.concat(read, 1), end], [images])
    seen = generator.normal(size=(2, 6, 5, 3)).astype("float32")
    expected, _ = _run(model.clone(), seen)
    sink_transposes(model)
    found, left = _run(model, seen)
    for output, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(output, wanted, rtol=1e-4, atol=1e-5)
    # Images and the final map have their channels last; transposes at unknown operations stay.
    assert left <= (2 if name in KNOWN else 4)
