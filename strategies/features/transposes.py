"""Removes transposes from OpenVINO graphs that Keras exports, which makes them four times as fast.

Keras has the channels last, OpenVINO's convolutions have them first. So Keras' OpenVINO backend puts a transpose before
and behind every convolution and normalization. Here each transpose is moved behind the operations that follow it, until
it meets the inverse transpose and both are removed. Operations that are not known below are left as they are, which is
slower but equally correct.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Order = tuple[int, ...]
ELEMENTWISE = {"Convert", "Relu", "Clamp", "Swish", "HSwish", "Sigmoid", "HSigmoid", "Gelu", "Sqrt", "Negative"}
BINARY = {"Add", "Multiply", "Subtract", "Divide", "Maximum", "Power"}


def sink_transposes(model: Any) -> None:
    """Moves the transposes of feature maps through a graph until they cancel out.

    Args:
        model: An `openvino.Model` with fixed shapes. It is changed in place.
    """
    from openvino import opset13 as ops

    for node in model.get_ordered_ops():
        sources = node.input_values()
        orders = {order for _, order in map(_before_transpose, sources) if order}
        if len(orders) != 1:
            continue
        (order,) = orders
        kind, attributes = node.get_type_name(), node.get_attributes()
        source, first = _before_transpose(sources[0])
        if kind == "Transpose" and first:
            whole = tuple(order[axis] for axis in _numbers(sources[1]))
            _replace(node, source if whole == (0, 1, 2, 3) else ops.transpose(source, np.array(whole)).output(0))
        elif kind in ELEMENTWISE | BINARY:
            untransposed = [_untranspose(value, order) for value in sources]
            if all(value is not None for value in untransposed):
                _rewire(node, untransposed, order)
        elif kind == "BatchNormInference" and first and order[:2] == (0, 1):
            _rewire(node, [source, *sources[1:]], order)
        elif kind == "Concat":
            parts = [_untranspose(value, order) for value in sources]
            joined = ops.concat(parts, order[attributes["axis"]])
            _replace(node, ops.transpose(joined, np.array(order)).output(0))
        elif kind == "Pad" and first:
            begin, end = (np.array(_numbers(value))[list(_inverse(order))] for value in sources[1:3])
            padded = ops.pad(source, begin, end, attributes["pad_mode"], *sources[3:])
            _replace(node, ops.transpose(padded, np.array(order)).output(0))
        elif kind == "ReduceMean" and first:
            axes = [axis % len(order) for axis in _numbers(sources[1])]
            remaining = [order[axis] for axis in range(len(order)) if axis not in axes]
            mean = ops.reduce_mean(source, np.array([order[axis] for axis in axes]), attributes["keep_dims"])
            if attributes["keep_dims"]:
                _replace(node, ops.transpose(mean, np.array(order)).output(0))
            elif remaining == sorted(remaining):
                _replace(node, mean.output(0))
    model.validate_nodes_and_infer_types()


def _before_transpose(value: Any) -> tuple[Any, Order]:
    """Returns the input and the order of the transpose that gives a feature map; else the value itself and `()`."""
    node = value.get_node()
    if node.get_type_name() != "Transpose" or len(value.get_shape()) != 4:
        return value, ()
    constant = node.input_value(0).get_node().get_type_name() == "Constant"  # a kernel, which is transposed only once
    return (value, ()) if constant else (node.input_value(0), tuple(_numbers(node.input_value(1))))


def _numbers(value: Any) -> list[int]:
    return [int(number) for number in value.get_node().get_data().ravel()]


def _inverse(order: Order) -> Order:
    return tuple(order.index(axis) for axis in range(len(order)))


def _untranspose(value: Any, order: Order) -> Any:
    """Returns a value in the layout before a transpose of that order; `None` if that is not possible."""
    from openvino import opset13 as ops

    before, own = _before_transpose(value)
    shape = list(value.get_shape())
    if own or not shape:
        return before
    if len(shape) == 1:  # one number per channel, on the last axis
        value = ops.reshape(value, np.array([1, 1, 1, *shape]), False).output(0)
    elif len(shape) != 4:
        return None
    return ops.transpose(value, np.array(_inverse(order))).output(0)


def _rewire(node: Any, sources: Sequence[Any], order: Order) -> None:
    """Connects a node to inputs before the transpose, and puts the transpose behind it."""
    from openvino import opset13 as ops

    followers = node.output(0).get_target_inputs()
    for port, source in zip(node.inputs(), sources, strict=True):
        port.replace_source_output(source)
    node.validate_and_infer_types()
    transposed = ops.transpose(node.output(0), np.array(order)).output(0)
    for follower in followers:
        follower.replace_source_output(transposed)


def _replace(node: Any, value: Any) -> None:
    for follower in node.output(0).get_target_inputs():
        follower.replace_source_output(value)
