"""The same decoder for ONNX Runtime alone, with the contributed operators (`com.microsoft`) that it is fast on.

    GroupQueryAttention               attention, rotary embedding and cache in one
    SkipSimplifiedLayerNormalization  a residual sum and the norm after it
    MatMulNBits                       products with int4 and int8 matrices; activations are rounded to int8 in blocks
    GatherBlockQuantized              rows of int8 embeddings

Inputs and outputs are those that onnxruntime-genai knows. They differ from the standard graph's (graph.py) in this:

    attention_mask  int64 [B, length]   ones: the tokens so far and the new ones; in place of position_ids and
                                        write_indices
    logits_indices  may be left out: the logits of the last position then, which is what is declared of them

The caches given may have any length. If a cache output is bound to the memory of its input, that is updated in
place; otherwise a longer one is returned.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from castline.compile.assignment import EMBEDDINGS
from castline.compile.formats import Target
from castline.compile.graph import Array, DecoderGraph, Shape, node_path, read_graph_weights
from castline.compile.nbits_layout import fitting_block, pack_nbits, pack_pairs, unpack_nbits, unpack_pairs
from castline.compile.quantize import Int4Grid, Int4Matrix, quantize_int8

_DOMAIN = "com.microsoft"

_INT8_ZERO = 128  # MatMulNBits counts from there where no zeros are given

# What MatMulNBits may round activations to: int8, with a scale per block.
_INT8_ACTIVATIONS = 4


def graph_variant(target: Target) -> type[DecoderGraph]:
    """What emits the nodes of a target's graph."""
    return ContribGraph if target == "onnxruntime" else DecoderGraph


class ContribGraph(DecoderGraph):
    """Emits the nodes in ONNX Runtime's own operators."""

    logits = 1

    def _prepare(self, context: int) -> str:
        writer, path = self.writer, "/model/lengths"
        mask = writer.input("attention_mask", np.int64, ["batch", "total_length"])
        chosen = writer.input("logits_indices", np.int64, ["logits"])
        writer.weight(chosen, np.array([-1], np.int64))
        self._rotary(context)
        axis = writer.weight("axes.tokens", np.array([1], np.int64))
        one = writer.weight("one", np.array(1, np.int64))
        tokens = writer.node("ReduceSum", [mask, axis], path, keepdims=0)
        last = writer.node("Sub", [tokens, one], path)
        self.last_positions = writer.node("Cast", [last], f"{path}/last", to=onnx.TensorProto.INT32)
        length = writer.node("Shape", [mask], path, start=1, end=2)
        total = writer.node("Squeeze", [length], path)
        self.total_length = writer.node("Cast", [total], f"{path}/total", to=onnx.TensorProto.INT32)
        return chosen

    def _cache_shapes(self) -> tuple[Shape, Shape]:
        kv_heads, size = self.config.num_key_value_heads, self.config.head_dim
        return ["batch", kv_heads, "past_length", size], ["batch", kv_heads, "present_length", size]

    def _attention(self, normed: str, layer: int) -> str:
        name = f"model.layers.{layer}.self_attn"
        projected = [self._linear(normed, f"{name}.{part}_proj") for part in "qkv"]
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        lengths = [self.last_positions, self.total_length]
        return self.writer.node(
            "GroupQueryAttention",
            [*projected, *past, *lengths, self.cos, self.sin],
            f"/model/layers.{layer}/self_attn",
            others=[f"present.{layer}.{part}" for part in ("key", "value")],
            domain=_DOMAIN,
            num_heads=self.config.num_attention_heads,
            kv_num_heads=self.config.num_key_value_heads,
            do_rotary=1,
        )

    def _add_and_norm(self, hidden: str, delta: str, norm: str, path: str) -> tuple[str, str]:
        weight = self.writer.weight(f"{norm}.weight", self._tensor(f"{norm}.weight"))
        total = f"{path}/Add_output"
        normed = self.writer.node(
            "SkipSimplifiedLayerNormalization",
            [hidden, delta, weight],
            path,
            others=["", "", total],
            domain=_DOMAIN,
            epsilon=self.config.rms_norm_eps,
        )
        return total, normed

    def _linear(self, hidden: str, name: str) -> str:
        kind, weight = self.assignment[f"{name}.weight"].kind, f"{name}.weight"
        path = node_path(name)
        if kind == "int4":
            return self._int4_product(
                hidden, weight, self.weights.matrix(weight, self.assignment, symmetric=False), path
            )
        if kind == "int8":
            numbers, scale = self._int8_matrix(weight)
            packed = self.writer.weight(weight, pack_nbits(numbers, 8, fitting_block(numbers.shape[1])))
            return self._product(hidden, [packed, scale], numbers.shape, 8, fitting_block(numbers.shape[1]), path)
        return super()._linear(hidden, name)

    def _int4_product(self, hidden: str, name: str, matrix: Int4Matrix, path: str) -> str:
        block = matrix.grid.block
        inputs = [
            self.writer.weight(name, pack_nbits(matrix.q, 4, block)),
            self.writer.weight(f"{name}.scale", matrix.grid.scale),
            self.writer.weight(f"{name}.zero", pack_pairs(matrix.grid.zero)),
        ]
        return self._product(hidden, inputs, matrix.q.shape, 4, block, path)

    def _int8_matrix(self, name: str) -> tuple[NDArray[np.uint8], str]:
        """A matrix [out, in] as MatMulNBits counts, and its scales: of a row, once for every block."""
        quantized, scale = quantize_int8(self._tensor(name))
        blocks = -(-quantized.shape[1] // fitting_block(quantized.shape[1]))
        repeated = self.writer.weight(f"{name}.scale", np.repeat(scale[:, None], blocks, axis=1))
        return (quantized.astype(np.int16) + _INT8_ZERO).astype(np.uint8), repeated

    def _product(self, hidden: str, matrix: list[str], shape: tuple[int, ...], bits: int, block: int, path: str) -> str:
        return self.writer.node(
            "MatMulNBits",
            [hidden, *matrix],
            path,
            domain=_DOMAIN,
            N=shape[0],
            K=shape[1],
            bits=bits,
            block_size=block,
            accuracy_level=_INT8_ACTIVATIONS,
        )

    def _embed(self, ids: str) -> str:
        if self.assignment[EMBEDDINGS].kind != "int8":
            return super()._embed(ids)
        numbers, self.table_scale = self._int8_matrix(EMBEDDINGS)
        self.table = self.writer.weight(EMBEDDINGS, numbers)
        return self.writer.node(
            "GatherBlockQuantized",
            [self.table, ids, self.table_scale],
            "/model/embed_tokens",
            domain=_DOMAIN,
            bits=8,
            block_size=fitting_block(numbers.shape[1]),
            gather_axis=0,
            quantize_axis=1,
        )

    def _head(self, hidden: str) -> str:
        if not self.config.tie_word_embeddings or self.assignment[EMBEDDINGS].kind != "int8":
            return super()._head(hidden)
        shape = (self.config.vocab_size, self.config.hidden_size)
        block = fitting_block(shape[1])
        blocks = self.writer.weight("shape.table", np.array([shape[0], shape[1] // block, block], np.int64))
        table = self.writer.node("Reshape", [self.table, blocks], "/lm_head")
        return self._product(hidden, [table, self.table_scale], shape, 8, block, "/lm_head")


def read_contrib_weights(path: Path) -> Callable[[str], NDArray[np.float32]]:
    """A function that gives the weights of such a graph file by checkpoint name: [out, in], dequantised."""
    model = onnx.load(path, load_external_data=False)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    other = read_graph_weights(path)
    columns: dict[str, int] = {
        node.input[1]: next(attribute.i for attribute in node.attribute if attribute.name == "K")
        for node in model.graph.node
        if node.op_type == "MatMulNBits"
    }

    def weight(name: str) -> Array:
        array: Array = onnx.numpy_helper.to_array(tensors[name], base_dir=str(path.parent))
        return array

    def tensor(name: str) -> NDArray[np.float32]:
        if tensors[name].data_type != onnx.TensorProto.UINT8:
            return other(name)
        packed, scale = weight(name), weight(f"{name}.scale")
        size = columns[name] if name in columns else packed.shape[1]
        if f"{name}.zero" in tensors:
            zero = unpack_pairs(weight(f"{name}.zero"))[:, : scale.shape[1]]
            return Int4Grid(scale, zero, 2 * packed.shape[2]).values(unpack_nbits(packed, 4, size))
        centred = unpack_nbits(packed, 8, size).astype(np.float32) - _INT8_ZERO
        values: NDArray[np.float32] = centred * scale[:, :1]
        return values

    return tensor
