"""OpenVINO graphs as Keras exports them -> the same without changes of layout between layers: four times as fast.

Keras keeps channels last, OpenVINO's convolutions have them first, so Keras' OpenVINO backend puts a transposition
before and behind every convolution and normalization. Here each one is moved behind what follows it, where it meets one
that undoes it, and both vanish. What is not known below is left as it is, which is slower but no less right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Order = tuple[int, ...]
ONE_BY_ONE = {"Convert", "Relu", "Clamp", "Swish", "HSwish", "Sigmoid", "HSigmoid", "Gelu", "Sqrt", "Negative"}
PAIR_BY_PAIR = {"Add", "Multiply", "Subtract", "Divide", "Maximum", "Power"}


def sink_transposes(model: Any) -> None:
    """Moves transpositions of feature maps to where they vanish.

    Args:
        model: An `openvino.Model` of fixed shapes; it is changed.
    """
    from openvino import opset13 as ops

    for node in model.get_ordered_ops():
        sources = node.input_values()
        orders = {order for _, order in map(_turned, sources) if order}
        if len(orders) != 1:
            continue
        (order,) = orders
        kind, attributes = node.get_type_name(), node.get_attributes()
        source, first = _turned(sources[0])
        if kind == "Transpose" and first:
            whole = tuple(order[axis] for axis in _numbers(sources[1]))
            _replace(node, source if whole == (0, 1, 2, 3) else ops.transpose(source, np.array(whole)).output(0))
        elif kind in ONE_BY_ONE | PAIR_BY_PAIR:
            alike = [_alike(one, order) for one in sources]
            if all(one is not None for one in alike):
                _rewire(node, alike, order)
        elif kind == "BatchNormInference" and first and order[:2] == (0, 1):
            _rewire(node, [source, *sources[1:]], order)
        elif kind == "Concat":
            parts = [_alike(one, order) for one in sources]
            joined = ops.concat(parts, order[attributes["axis"]])
            _replace(node, ops.transpose(joined, np.array(order)).output(0))
        elif kind == "Pad" and first:
            begin, end = (np.array(_numbers(one))[list(_inverse(order))] for one in sources[1:3])
            padded = ops.pad(source, begin, end, attributes["pad_mode"], *sources[3:])
            _replace(node, ops.transpose(padded, np.array(order)).output(0))
        elif kind == "ReduceMean" and first:
            axes = [axis % len(order) for axis in _numbers(sources[1])]
            left = [order[axis] for axis in range(len(order)) if axis not in axes]
            mean = ops.reduce_mean(source, np.array([order[axis] for axis in axes]), attributes["keep_dims"])
            if attributes["keep_dims"]:
                _replace(node, ops.transpose(mean, np.array(order)).output(0))
            elif left == sorted(left):
                _replace(node, mean.output(0))
    model.validate_nodes_and_infer_types()


def _turned(value: Any) -> tuple[Any, Order]:
    """Returns what a transposed feature map was before, and the order of its axes; of anything else `()`."""
    node = value.get_node()
    if node.get_type_name() != "Transpose" or len(value.get_shape()) != 4:
        return value, ()
    constant = node.input_value(0).get_node().get_type_name() == "Constant"  # a kernel, which is turned once
    return (value, ()) if constant else (node.input_value(0), tuple(_numbers(node.input_value(1))))


def _numbers(value: Any) -> list[int]:
    return [int(number) for number in value.get_node().get_data().ravel()]


def _inverse(order: Order) -> Order:
    return tuple(order.index(axis) for axis in range(len(order)))


def _alike(value: Any, order: Order) -> Any:
    """Returns a value as it is before such a transposition; `None` if it cannot be brought there."""
    from openvino import opset13 as ops

    before, own = _turned(value)
    shape = list(value.get_shape())
    if own or not shape:
        return before
    if len(shape) == 1:  # one number for each channel: the last axis
        value = ops.reshape(value, np.array([1, 1, 1, *shape]), False).output(0)
    elif len(shape) != 4:
        return None
    return ops.transpose(value, np.array(_inverse(order))).output(0)


def _rewire(node: Any, sources: Sequence[Any], order: Order) -> None:
    """Lets a node compute before the transposition, and puts that behind it."""
    from openvino import opset13 as ops

    followers = node.output(0).get_target_inputs()
    for place, source in zip(node.inputs(), sources, strict=True):
        place.replace_source_output(source)
    node.validate_and_infer_types()
    turned = ops.transpose(node.output(0), np.array(order)).output(0)
    for follower in followers:
        follower.replace_source_output(turned)


def _replace(node: Any, value: Any) -> None:
    for follower in node.output(0).get_target_inputs():
        follower.replace_source_output(value)
