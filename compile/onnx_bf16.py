"""bfloat16 graphs made runnable on a CPU: computed in float32, every result rounded to bfloat16.

ONNX Runtime has no bfloat16 products on a CPU. What is measured on the graph given here is what the original's
operators give where sums are kept in float32, as GPUs keep them.
"""

import onnx
from onnx import TensorProto, helper

# They only move values, which are rounded already.
_MOVES = {"Gather", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "TensorScatter"}


def has_bfloat16(model: onnx.ModelProto) -> bool:
    """Whether a graph's caches, which have the type it computes with, are in bfloat16."""
    return any(value.type.tensor_type.elem_type == TensorProto.BFLOAT16 for value in model.graph.input)


def rounded_to_bfloat16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph with the same inputs and outputs in float32 that rounds as the bfloat16 graph does.

    Args:
        model: the graph; weights may lie in another file
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    halves = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.BFLOAT16}
    nodes = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.BFLOAT16:
            nodes.append(helper.make_node("Cast", [tensor.name], [_wide(tensor.name)], to=TensorProto.FLOAT))
    stored = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.BFLOAT16}
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in stored:
                node.input[index] = _wide(name)
        if node.op_type == "Cast":
            target = next(attribute for attribute in node.attribute if attribute.name == "to")
            target.i = TensorProto.FLOAT if target.i == TensorProto.BFLOAT16 else target.i
        nodes.append(node)
        name = node.output[0]
        if name in halves and node.op_type not in _MOVES:
            node.output[0] = f"{name}.exact"
            nodes.append(helper.make_node("Cast", [f"{name}.exact"], [f"{name}.rounded"], to=TensorProto.BFLOAT16))
            nodes.append(helper.make_node("Cast", [f"{name}.rounded"], [name], to=TensorProto.FLOAT))
    for value in values:
        if value.name in halves:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.graph.CopyFrom(graph)
    return result


def _wide(name: str) -> str:
    return f"{name}.float32"
