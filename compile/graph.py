"""A checkpoint as an ONNX graph: opset 24, standard operators only, with a key/value cache updated in place.

Inputs, for a batch of B sequences of which S new tokens each are computed:

    input_ids       int64 [B, S]
    position_ids    int64 [B, S]        the position of every new token
    write_indices   int64 [B]           where in the cache the new keys and values begin
    logits_indices  int64 [N]           which of the S positions to give logits for (generation: the last one)
    past_key_values.L.key, .value       [B, kv_heads, cache_length, head_dim], for every layer L

Outputs:

    logits          float32 [B, N, vocab]
    present.L.key, .value               the caches with the new tokens written; may share the inputs' memory

The cache has a fixed length, chosen by whoever runs the graph (up to the context it was compiled for); a
token sees the cache up to its own position, so what lies behind does not matter. The same graph serves
prefill (S > 1) and decode (S = 1). Weights keep the checkpoint's names; matrices are stored [in, out], as
MatMul takes them, but for the embedding table [vocab, hidden]. Every matrix has a format of its own; what is
stored in another one than is computed with goes through DequantizeLinear or Cast.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto

import castline
from castline.compile.assignment import EMBEDDINGS, Assignment
from castline.compile.formats import INT4_BLOCKS, WeightFormat
from castline.compile.onnx_writer import OnnxWriter
from castline.compile.quantize import (
    FLOAT_DTYPES,
    FP8,
    INT4_SYMMETRIC_ZERO,
    Int4Grid,
    Int4Matrix,
    dequantize_rows,
    fp8_scale,
    quantize_fp8,
    quantize_int8,
)
from castline.compile.weights import Weights
from castline.files import atomic_write, write_bytes
from castline.model.checkpoint import CheckpointReader
from castline.model.decoder import rotary_tables

Array = NDArray[Any]
Shape = list[int | str]

DATA_SUFFIX = ".data"

_ELEMENTS: dict[WeightFormat, int] = {
    "f32": TensorProto.FLOAT,
    "f16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
}

# Formats with one scale per output channel.
_BY_ROW = {"int8": quantize_int8, "fp8": quantize_fp8}


def write_graph(
    reader: CheckpointReader,
    path: Path,
    assignment: Assignment,
    weights: Weights,
    *,
    compute: WeightFormat,
    context: int,
    variant: "type[DecoderGraph] | None" = None,
    ranges: Mapping[str, float] | None = None,
) -> None:
    """Write the graph of a checkpoint to `path`, and its weights beside it, to `path` with `.data` appended.

    Args:
        reader: the checkpoint
        path: the graph file, `….onnx`
        assignment: the format of every tensor
        weights: gives the tensors
        compute: what activations are: "f32" (ONNX Runtime on a CPU), "f16" or "bf16" (TensorRT)
        context: positions the rotary tables cover: the longest sequence
        variant: emits the nodes; none: standard operators only
        ranges: {matrix in fp8: the largest magnitude that reaches it}; activations are rounded to fp8, too, then,
            which TensorRT makes products in fp8 of
    """
    data = path.with_name(path.name + DATA_SUFFIX)
    with atomic_write(data) as file:
        writer = OnnxWriter(file, data.name)
        decoder = (variant or DecoderGraph)(reader, writer, assignment, weights, compute, ranges)
        decoder.build(context)
    metadata = {"castline.context": str(context), "castline.weights": assignment.main}
    write_bytes(path, writer.save("decoder", castline.__version__, metadata))


def read_graph_weights(path: Path) -> Callable[[str], NDArray[np.float32]]:
    """A function that gives the weights of a graph file by checkpoint name: [out, in], dequantised."""
    model = onnx.load(path, load_external_data=False)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    def weight(name: str) -> Array:
        array: Array = onnx.numpy_helper.to_array(tensors[name], base_dir=str(path.parent))
        return array

    def int4(name: str) -> NDArray[np.float32]:
        signed = tensors[name].data_type == TensorProto.INT4
        q = weight(name).astype(np.int8) + (INT4_SYMMETRIC_ZERO if signed else 0)
        scale = weight(f"{name}.scale").astype(np.float32)
        zero = np.full(scale.shape, INT4_SYMMETRIC_ZERO) if signed else weight(f"{name}.zero")
        block = next(block for block in INT4_BLOCKS if -(-len(q) // block) == len(scale))
        return Int4Grid(scale.T, zero.T.astype(np.uint8), block).values(q.T.astype(np.uint8))

    def tensor(name: str) -> NDArray[np.float32]:
        if tensors[name].data_type in (TensorProto.UINT4, TensorProto.INT4):
            return int4(name)
        stored = weight(name)
        if stored.ndim == 2 and name != EMBEDDINGS:
            stored = stored.T
        if stored.dtype in (np.int8, FP8):
            return dequantize_rows(stored, weight(f"{name}.scale").astype(np.float32).reshape(-1))
        return np.array(stored, np.float32, order="C")

    return tensor


class DecoderGraph:
    """Emits the nodes of a Llama-layout decoder in standard operators; a value is known by its name in the graph.

    `build` is the walk over the model. What is made of its pieces is for the other methods, and for variants.
    """

    logits: int | str = "logits"
    """How many positions give logits."""

    def __init__(
        self,
        reader: CheckpointReader,
        writer: OnnxWriter,
        assignment: Assignment,
        weights: Weights,
        compute: WeightFormat,
        ranges: Mapping[str, float] | None = None,
    ) -> None:
        self.reader = reader
        self.config = reader.config
        self.writer = writer
        self.assignment = assignment
        self.weights = weights
        self.compute = compute
        self.ranges = ranges or {}
        self.rounded: dict[str, str] = {}
        self.dtype = FLOAT_DTYPES[compute]
        self.for_tensorrt = compute != "f32"

    def build(self, context: int) -> None:
        """Emit the whole graph, for sequences of up to `context` tokens."""
        config, writer = self.config, self.writer
        ids = writer.input("input_ids", np.int64, ["batch", "sequence"])
        chosen = self._prepare(context)
        shape, new_shape = self._cache_shapes()
        names = [f"model.layers.{layer}" for layer in range(config.num_hidden_layers)]
        for layer in range(len(names)):
            for part in ("key", "value"):
                writer.input(f"past_key_values.{layer}.{part}", self.dtype, shape)

        hidden = self._embed(ids)
        normed = self._norm(hidden, f"{names[0]}.input_layernorm")
        for layer, name in enumerate(names):
            attended = self._linear(self._attention(normed, layer), f"{name}.self_attn.o_proj")
            path = f"{node_path(name)}/self_attn/residual"
            hidden, normed = self._add_and_norm(hidden, attended, f"{name}.post_attention_layernorm", path)
            fed = self._feed_forward(normed, name)
            path = f"{node_path(name)}/mlp/residual"
            if layer + 1 < len(names):
                hidden, normed = self._add_and_norm(hidden, fed, f"{names[layer + 1]}.input_layernorm", path)
            else:
                hidden = writer.node("Add", [hidden, fed], path)
        hidden = writer.node("Gather", [hidden, chosen], "/model/chosen", axis=1)
        logits = self._head(self._norm(hidden, "model.norm"))
        writer.node("Cast", [logits], "/logits", output="logits", to=TensorProto.FLOAT)

        writer.output("logits", np.float32, ["batch", self.logits, config.vocab_size])
        for layer in range(len(names)):
            for part in ("key", "value"):
                writer.output(f"present.{layer}.{part}", self.dtype, new_shape)

    def _prepare(self, context: int) -> str:
        """Declare the other inputs and what all layers share; returns the input that chooses among positions."""
        writer, config = self.writer, self.config
        self.positions = writer.input("position_ids", np.int64, ["batch", "sequence"])
        self.write_indices = writer.input("write_indices", np.int64, ["batch"])
        chosen = writer.input("logits_indices", np.int64, ["logits"])
        self._rotary(context)
        heads, kv_heads, size = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.split_heads = writer.weight("shape.heads", np.array([0, 0, heads, size], np.int64))
        self.split_kv_heads = writer.weight("shape.kv_heads", np.array([0, 0, kv_heads, size], np.int64))
        self.join_heads = writer.weight("shape.joined", np.array([0, 0, heads * size], np.int64))
        self.mask = self._mask("past_key_values.0.key")
        return chosen

    def _rotary(self, context: int) -> None:
        """The tables [context, head_dim / 2] of rotary embeddings."""
        cos, sin = rotary_tables(self.config, torch.arange(context))
        self.cos = self.writer.weight("rotary.cos", cos.numpy().astype(self.dtype))
        self.sin = self.writer.weight("rotary.sin", sin.numpy().astype(self.dtype))

    def _cache_shapes(self) -> tuple[Shape, Shape]:
        """Of a layer's keys or values before and after."""
        shape: Shape = ["batch", self.config.num_key_value_heads, "cache_length", self.config.head_dim]
        return shape, shape

    def _mask(self, cache: str) -> str:
        """Booleans [B, 1, S, cache_length]: a new token sees the cache up to its own position."""
        node, path = self.writer.node, "/model/mask"
        length = node("Shape", [cache], path, start=2, end=3)
        scalar = node("Squeeze", [length], path)
        zero = self.writer.weight("zero", np.array(0, np.int64))
        one = self.writer.weight("one", np.array(1, np.int64))
        index = node("Range", [zero, scalar, one], path)
        axes = self.writer.weight("axes.heads_and_cache", np.array([1, 3], np.int64))
        position = node("Unsqueeze", [self.positions, axes], path)
        return node("LessOrEqual", [index, position], path)

    def _attention(self, normed: str, layer: int) -> str:
        """What the heads of a layer see, joined: [B, S, heads * head_dim]; its cache is brought up to date."""
        node, name, path = self.writer.node, f"model.layers.{layer}.self_attn", f"/model/layers.{layer}/self_attn"
        query = self._rotate(self._heads(normed, f"{name}.q_proj", self.split_heads), "q", path)
        key = self._rotate(self._heads(normed, f"{name}.k_proj", self.split_kv_heads), "k", path)
        value = self._heads(normed, f"{name}.v_proj", self.split_kv_heads)
        keys = self._cache(layer, "key", key, path)
        values = self._cache(layer, "value", value, path)
        attended = node("Attention", [query, keys, values, self.mask], path)
        attended = node("Transpose", [attended], f"{path}/join", perm=[0, 2, 1, 3])
        return node("Reshape", [attended, self.join_heads], f"{path}/join")

    def _feed_forward(self, normed: str, name: str) -> str:
        node, path = self.writer.node, f"{node_path(name)}/mlp"
        gate = self._linear(normed, f"{name}.mlp.gate_proj")
        activated = node("Mul", [gate, node("Sigmoid", [gate], f"{path}/act_fn")], f"{path}/act_fn")
        product = node("Mul", [activated, self._linear(normed, f"{name}.mlp.up_proj")], f"{path}/product")
        return self._linear(product, f"{name}.mlp.down_proj")

    def _add_and_norm(self, hidden: str, delta: str, norm: str, path: str) -> tuple[str, str]:
        """hidden + delta, and that sum normalised."""
        hidden = self.writer.node("Add", [hidden, delta], path)
        return hidden, self._norm(hidden, norm)

    def _heads(self, hidden: str, name: str, shape: str) -> str:
        """Project [B, S, hidden] and split into heads: [B, heads, S, head_dim]."""
        path = node_path(name)
        projected = self.writer.node("Reshape", [self._linear(hidden, name), shape], path)
        return self.writer.node("Transpose", [projected], path, perm=[0, 2, 1, 3])

    def _rotate(self, heads: str, which: str, path: str) -> str:
        inputs = [heads, self.cos, self.sin, self.positions]
        return self.writer.node("RotaryEmbedding", inputs, f"{path}/{which}_rotary")

    def _cache(self, layer: int, part: str, new: str, path: str) -> str:
        """The cache of a layer's keys or values with the new ones written."""
        past, present = f"past_key_values.{layer}.{part}", f"present.{layer}.{part}"
        inputs = [past, new, self.write_indices]
        return self.writer.node("TensorScatter", inputs, f"{path}/{part}_cache", output=present, axis=-2)

    def _norm(self, hidden: str, name: str) -> str:
        weight = self.writer.weight(f"{name}.weight", self._tensor(f"{name}.weight").astype(self.dtype))
        return self.writer.node(
            "RMSNormalization", [hidden, weight], node_path(name), axis=-1, epsilon=self.config.rms_norm_eps
        )

    def _linear(self, hidden: str, name: str) -> str:
        """hidden · Wᵀ, with W the checkpoint's matrix [out, in]."""
        if f"{name}.weight" in self.ranges:
            hidden = self._rounded_to_fp8(hidden, name)
        return self.writer.node("MatMul", [hidden, self._matrix(f"{name}.weight")], node_path(name))

    def _rounded_to_fp8(self, hidden: str, name: str) -> str:
        """Activations in fp8 with one scale; matrices that share their inputs share this."""
        if hidden not in self.rounded:
            path = f"{node_path(name)}/input"
            largest = np.float32(self.ranges[f"{name}.weight"])
            scale = self.writer.weight(f"{name}.input_scale", fp8_scale(largest).astype(self.dtype))
            if not self.rounded:
                self.writer.weight("fp8.zero", np.zeros((), FP8))
            quantized = self.writer.node("QuantizeLinear", [hidden, scale, "fp8.zero"], path)
            self.rounded[hidden] = self.writer.node("DequantizeLinear", [quantized, scale], path)
        return self.rounded[hidden]

    def _matrix(self, name: str) -> str:
        """The value that holds the transpose [in, out] of a matrix of the checkpoint."""
        kind = self.assignment[name].kind
        if kind == "int4":
            return self._dequantize_int4(name, self.weights.matrix(name, self.assignment, symmetric=self.for_tensorrt))
        matrix = self._tensor(name)
        if kind in _BY_ROW:
            quantized, scale = _BY_ROW[kind](matrix)
            if kind == "fp8" and not self.for_tensorrt:
                return self._scaled(name, quantized.T, scale)
            return self._dequantize(name, quantized.T, scale, axis=1)
        return self._computed(self.writer.weight(name, matrix.T.astype(FLOAT_DTYPES[kind])), kind, node_path(name))

    def _computed(self, value: str, kind: WeightFormat, path: str) -> str:
        """A value in a float format as what is computed with."""
        return value if kind == self.compute else self.writer.node("Cast", [value], path, to=_ELEMENTS[self.compute])

    def _embed(self, ids: str) -> str:
        node, path, kind = self.writer.node, "/model/embed_tokens", self.assignment[EMBEDDINGS].kind
        table = self._tensor(EMBEDDINGS)
        if kind != "int8":
            self.table = self.writer.weight(EMBEDDINGS, table.astype(FLOAT_DTYPES[kind]))
            return self._computed(node("Gather", [self.table, ids], path, axis=0), kind, path)
        quantized, scale = quantize_int8(table)
        if self.for_tensorrt:  # it takes quantised weights into DequantizeLinear only, and fuses what follows
            self.table = self._dequantize(EMBEDDINGS, quantized, scale, axis=0)
            return node("Gather", [self.table, ids], path, axis=0)
        # ONNX Runtime would dequantise the whole table at every step: the rows first, then their values.
        self.table = self.writer.weight(EMBEDDINGS, quantized)
        scales = self.writer.weight(f"{EMBEDDINGS}.scale", scale[:, None])
        rows = node("Cast", [node("Gather", [self.table, ids], path, axis=0)], path, to=TensorProto.FLOAT)
        return node("Mul", [rows, node("Gather", [scales, ids], f"{path}/scale", axis=0)], path)

    def _head(self, hidden: str) -> str:
        if not self.config.tie_word_embeddings:
            return self._linear(hidden, "lm_head")
        kind = self.assignment[EMBEDDINGS].kind
        matrix = self.writer.node("Transpose", [self.table], "/lm_head", perm=[1, 0])
        if kind != "int8":
            matrix = self._computed(matrix, kind, "/lm_head")
        elif not self.for_tensorrt:
            scale = self.writer.node("Squeeze", [f"{EMBEDDINGS}.scale"], "/lm_head/scale")
            matrix = self.writer.node("DequantizeLinear", [matrix, scale], "/lm_head", axis=1)
        return self.writer.node("MatMul", [hidden, matrix], "/lm_head")

    def _scaled(self, name: str, quantized: Array, scale: NDArray[np.float32]) -> str:
        """What DequantizeLinear computes, in nodes that ONNX Runtime computes once: that one it runs at every step."""
        wide = self._computed(self.writer.weight(name, quantized), "fp8", node_path(name))
        return self.writer.node("Mul", [wide, self.writer.weight(f"{name}.scale", scale)], node_path(name))

    def _dequantize(self, name: str, quantized: Array, scale: NDArray[np.float32], axis: int) -> str:
        inputs = [
            self.writer.weight(name, quantized),
            self.writer.weight(f"{name}.scale", scale.astype(self.dtype)),
        ]
        return self.writer.node("DequantizeLinear", inputs, node_path(name), axis=axis)

    def _dequantize_int4(self, name: str, matrix: Int4Matrix) -> str:
        """The transpose of an int4 matrix; TensorRT takes signed numbers and no zeros."""
        scale = self.writer.weight(f"{name}.scale", matrix.grid.scale.T.astype(self.dtype))
        if self.for_tensorrt:
            inputs = [self.writer.nibbles(name, matrix.q.T.astype(np.int8) - INT4_SYMMETRIC_ZERO), scale]
        else:
            zero = self.writer.nibbles(f"{name}.zero", matrix.grid.zero.T)
            inputs = [self.writer.nibbles(name, matrix.q.T), scale, zero]
        return self.writer.node("DequantizeLinear", inputs, node_path(name), axis=0, block_size=matrix.grid.block)

    def _tensor(self, name: str) -> NDArray[np.float32]:
        return self.weights.tensor(name, self.assignment, symmetric=self.for_tensorrt)


def node_path(name: str) -> str:
    """The node path of a module or tensor: `model.layers.0.mlp.up_proj` -> `/model/layers.0/mlp/up_proj`."""
    parts = name.removesuffix(".weight").split(".")
    if parts[:2] == ["model", "layers"]:
        parts[1:3] = [f"layers.{parts[2]}"]
    return "/" + "/".join(parts)
