"""Int4 weights from data: layer after layer, each fitted to the inputs that the quantised ones before it give.

Two runs go through the model side by side: the checkpoint's and the quantised model's. A matrix that is quantised by
GPTQ aims at what the checkpoint's makes of *its* inputs, and where it adds to the residual stream, at the
checkpoint's stream: so it makes up for what the matrices before it have lost (the idea of arXiv 2504.02692 and
2504.09629). One layer is in memory at a time, and the activations of both runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from castline.compile.assignment import EMBEDDINGS, Assignment
from castline.compile.awq import channel_scales
from castline.compile.config import Calibration
from castline.compile.gptq import damped, gptq, one_thread
from castline.compile.layer_steps import Activations, Step, run_both
from castline.compile.quantize import Float32, Int4Grid, Int4Matrix, round_int4, rounded_values
from castline.compile.store import Store
from castline.compile.text_tokens import Ids
from castline.model import ops
from castline.model.checkpoint import CheckpointReader
from castline.progress import progress

_STATE = "activations"
_RIDGE = 0.5  # keeps the correction for lost inputs small where few tokens speak for it; as GPTQ's damping


@dataclass(frozen=True)
class Factors:
    """What AWQ multiplies a tensor by before it is stored."""

    rows: Float32 | None = None
    """[out]; a norm's weights [hidden_size] are rows."""
    columns: Float32 | None = None
    """[in]."""

    def __call__(self, tensor: Float32) -> Float32:
        """The tensor as it is to be stored, in whatever format."""
        if self.rows is not None:
            tensor = tensor * (self.rows if tensor.ndim == 1 else self.rows[:, None])
        return tensor if self.columns is None else tensor * self.columns


@dataclass
class FittedLayer:
    """What calibration found for a layer, by Llama name."""

    name: str = ""
    """`model.layers.0`."""
    int4: dict[str, Int4Matrix] = field(default_factory=dict)
    """Its int4 matrices, ready to be stored."""
    factors: dict[str, Factors] = field(default_factory=dict)
    """Of its other tensors, where there are any."""


def fitted_layers(
    reader: CheckpointReader,
    ids: Ids,
    assignment: Assignment,
    method: Calibration,
    *,
    symmetric: bool,
    store: Store | None = None,
) -> Iterator[FittedLayer]:
    """Quantise the int4 matrices of all layers.

    Args:
        reader: the checkpoint
        ids: token ids [sequences, length] of the kind of text the model is for
        assignment: the format of every tensor; what is not int4 is rounded to its format on the way
        method: AWQ's scales, GPTQ's rounding, or both
        symmetric: grids with their zero in the middle
        store: keeps the activations of both runs at every layer's end; work that was interrupted goes on from there,
            and layers that were given out before are not given out again
    """
    embeddings = reader.tensor(EMBEDDINGS).float()
    rounded = rounded_values(embeddings.numpy(), assignment[EMBEDDINGS], symmetric=symmetric)
    quantised = Activations(reader, ids, torch.from_numpy(rounded))
    original = Activations(reader, ids, embeddings)
    del embeddings, rounded
    done = 0
    if store is not None and (state := store.load(_STATE)) is not None:
        done = int(state["layers"])
        for name, run in (("quantised", quantised), ("original", original)):
            run.resume({key.partition(".")[2]: value for key, value in state.items() if key.startswith(f"{name}.")})
    with progress("calibrating", reader.config.num_hidden_layers, "layers") as advance:
        advance(done)
        for index in range(done, reader.config.num_hidden_layers):
            with torch.no_grad():
                fitter = _LayerFitter(f"model.layers.{index}", reader, assignment, method, symmetric)
                run_both(quantised.layer(index), original.layer(index), fitter.matrices)
            yield fitter.found
            if store is not None:
                state = {"layers": np.array(index + 1)}
                for name, run in (("quantised", quantised), ("original", original)):
                    state |= {f"{name}.{key}": value for key, value in run.state().items()}
                store.save(_STATE, state)
            advance(1)


class _LayerFitter:
    """Quantises the matrices of one layer as the activations of both runs reach them."""

    def __init__(
        self, name: str, reader: CheckpointReader, assignment: Assignment, method: Calibration, symmetric: bool
    ) -> None:
        self._reader, self._assignment, self._symmetric = reader, assignment, symmetric
        self._awq, self._gptq = "awq" in method, "gptq" in method
        self.found = FittedLayer(name)

    def matrices(self, step: Step, goal: Step) -> tuple[list[Tensor], list[Tensor]]:
        """A step's matrices in both runs: the quantised ones, which is what this finds, and the checkpoint's."""
        originals = {name: self._reader.tensor(name).float() for name in step.names}
        int4 = {name: matrix for name, matrix in originals.items() if self._assignment[name].kind == "int4"}
        scales: Tensor | None = None
        if int4:
            inputs, aims, lost = _weighted(step, goal)
            hessian = _products(inputs, inputs)
            if self._awq:
                scales = self._scales(step, int4, hessian, inputs.abs().mean(dim=0))
            if self._gptq:
                int4 = _corrected(int4, inputs, hessian, aims, lost)
            for name, matrix in int4.items():
                self.found.int4[name] = self._quantised(matrix, hessian, scales, self._assignment[name].block)
        values = []
        for name, matrix in originals.items():
            if name in int4:
                value = self.found.int4[name].values()
            else:
                if scales is not None:
                    self.found.factors[name] = Factors(columns=scales.numpy())
                wanted = matrix if scales is None else matrix * scales
                value = rounded_values(wanted.numpy(), self._assignment[name])
            values.append(torch.from_numpy(value) if scales is None else torch.from_numpy(value) / scales)
        return values, list(originals.values())

    def _quantised(self, matrix: Tensor, hessian: Tensor, scales: Tensor | None, block: int) -> Int4Matrix:
        if scales is not None:
            matrix, hessian = matrix * scales, hessian / scales / scales[:, None]
        if self._gptq:
            return gptq(matrix, hessian, block, symmetric=self._symmetric)
        return round_int4(matrix.numpy(), block, symmetric=self._symmetric)

    def _scales(self, step: Step, int4: dict[str, Tensor], hessian: Tensor, magnitudes: Tensor) -> Tensor:
        """AWQ's scales of a step's inputs [in]; what makes the inputs is divided by them."""
        config, maker = self._reader.config, _maker(step.names[0])
        if maker.endswith("v_proj.weight"):  # the query heads of a group read the same rows of v
            heads = magnitudes.view(config.num_key_value_heads, config.group_size, config.head_dim)
            magnitudes = heads.mean(dim=1, keepdim=True).expand_as(heads).reshape(-1)
        matrices = [(matrix, self._assignment[name].block) for name, matrix in int4.items()]
        is_norm = maker.endswith("norm.weight")
        scales = channel_scales(matrices, hessian, magnitudes, symmetric=self._symmetric, powers_of_two=not is_norm)
        rows = scales
        if maker.endswith("v_proj.weight"):
            rows = scales.view(config.num_key_value_heads, config.group_size, config.head_dim)[:, 0].reshape(-1)
        inverse = (1 / rows).numpy()
        if maker in self.found.int4:
            matrix = self.found.int4[maker]
            grid = Int4Grid(matrix.grid.scale * inverse[:, None], matrix.grid.zero, matrix.grid.block)
            self.found.int4[maker] = Int4Matrix(matrix.q, grid)
        else:
            self.found.factors[maker] = replace(self.found.factors.get(maker, Factors()), rows=inverse)
        return scales


def _weighted(step: Step, goal: Step) -> tuple[Tensor, Tensor, Tensor | None]:
    """Inputs, the checkpoint's inputs, and what the stream has lost; tokens weighted by what their outputs count.

    What is added to the stream counts as much as the norms behind it let through: a few tokens with a huge stream (a
    sequence's first one, mostly) would otherwise drown all others.
    """
    if not step.names[0].endswith(("o_proj.weight", "down_proj.weight")):
        return step.inputs, goal.inputs, None
    weight = step.stream.square().mean(dim=1, keepdim=True).rsqrt()
    return step.inputs * weight, goal.inputs * weight, (goal.stream - step.stream) * weight


def _corrected(
    matrices: dict[str, Tensor], inputs: Tensor, hessian: Tensor, aims: Tensor, lost: Tensor | None
) -> dict[str, Tensor]:
    """Matrices whose products with `inputs` [tokens, in] are nearest to those of the checkpoint's with `aims`.

    W + Δ, where Δ minimises ‖Δ x - (W (aim - x) + lost)‖² + ridge: Δ = (W Σ (aim - x) xᵀ + Σ lost xᵀ) H⁻¹.
    """
    missing = _products(aims - inputs, inputs)
    added = _products(lost, inputs) if lost is not None else None
    with one_thread():
        root = torch.linalg.cholesky(damped(hessian, _RIDGE))
    corrected = {}
    for name, matrix in matrices.items():
        wanted = ops.linear(matrix, missing.T.contiguous())
        if added is not None:
            wanted = wanted + added
        with one_thread():
            corrected[name] = (matrix + torch.cholesky_solve(wanted.double().T, root).T).float().contiguous()
    return corrected


def _products(a: Tensor, b: Tensor) -> Tensor:
    """Σ a bᵀ over tokens: [tokens, m] and [tokens, n] to [m, n]."""
    return ops.linear(a.T.contiguous(), b.T.contiguous())


def _maker(name: str) -> str:
    """The tensor whose rows become the inputs of the matrix of that name."""
    layer, _, part = name.removesuffix(".weight").rpartition(".")
    prefix = layer.removesuffix(".self_attn").removesuffix(".mlp")
    makers = {"o_proj": "self_attn.v_proj", "down_proj": "mlp.up_proj", "q_proj": "input_layernorm"}
    return f"{prefix}.{makers.get(part, 'post_attention_layernorm')}.weight"
