"""What is stored of a checkpoint: every tensor as the backends' files hold it, fitted to a text or as it is.

Fitting may change more than the matrices it quantises (AWQ moves factors into norms), so whoever writes a tensor
asks for it here, whatever its format.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from castline.compile.assignment import Assignment
from castline.compile.calibrate import Factors, FittedLayer, fitted_layers
from castline.compile.config import Calibration
from castline.compile.quantize import Float32, Int4Grid, Int4Matrix, round_int4
from castline.compile.store import Arrays, MemoryStore, Store, StoreGroup
from castline.compile.text_tokens import TextTokens
from castline.files import sha256_json
from castline.model.checkpoint import CheckpointReader


class Weights:
    """The tensors of a checkpoint, chosen once for all backends that store the same formats on like grids."""

    def __init__(
        self,
        reader: CheckpointReader,
        text: TextTokens | None,
        calibration: Calibration = "gptq",
        store: Store | None = None,
    ) -> None:
        """`text` is what to calibrate on; without it, int4 is rounded to nearest. `store` keeps fitted layers."""
        self._reader = reader
        self._text = text if calibration != "none" else None
        self._calibration: Calibration = calibration
        self._store = store or MemoryStore()
        self._last: tuple[str, FittedLayer] | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether there is text that int4 weights are fitted to."""
        return self._text is not None

    @property
    def method(self) -> str:
        """How int4 weights were chosen, for people."""
        if self._text is None:
            return "rounded to nearest"
        return f"{self._calibration.upper()} on {self._text.ids.size:,} tokens: {self._text.source}"

    def matrix(self, name: str, assignment: Assignment, *, symmetric: bool) -> Int4Matrix:
        """A matrix that is stored in int4, on grids with their zero in the middle (`symmetric`) or anywhere.

        `assignment` says what is stored how: a matrix is fitted to what the ones before it have become.
        """
        fitted = self._fitted(name, assignment, symmetric).int4.get(name)
        if fitted is not None:
            return fitted
        return round_int4(self._reader.tensor(name).float().numpy(), assignment[name].block, symmetric=symmetric)

    def tensor(self, name: str, assignment: Assignment, *, symmetric: bool) -> Float32:
        """A tensor that is not stored in int4, before it is rounded to its format. Arguments as of `matrix`."""
        tensor: Float32 = self._reader.tensor(name).float().numpy()
        factors = self._fitted(name, assignment, symmetric).factors.get(name)
        return tensor if factors is None else factors(tensor)

    def _fitted(self, name: str, assignment: Assignment, symmetric: bool) -> FittedLayer:
        """What calibration found for the layer that a tensor belongs to."""
        if self._text is None or ".layers." not in name or not assignment.has_int4_layers:
            return FittedLayer()
        formats = {name: str(stored) for name, stored in assignment.formats.items()}
        group = StoreGroup(self._store, f"fitted-{sha256_json([formats, symmetric])[:16]}")
        key = f"{group.name}/{_layer(name)}"
        if self._last is None or self._last[0] != key:
            if (arrays := group.load(_layer(name))) is None:
                # A layer is kept before the next one is asked for: calibration's own state comes after it.
                layers = fitted_layers(
                    self._reader, self._text.ids, assignment, self._calibration, symmetric=symmetric, store=group
                )
                for layer in layers:
                    group.save(layer.name, _packed(layer))
                arrays = group.load(_layer(name))
            assert arrays is not None  # all layers have been fitted
            self._last = key, _unpacked(arrays, _layer(name), assignment)
        return self._last[1]


def _layer(name: str) -> str:
    """The layer a tensor belongs to: `model.layers.0`."""
    return ".".join(name.split(".")[:3])


def _packed(layer: FittedLayer) -> Arrays:
    """Two int4 points a byte, and grids and factors as they are; rows are a multiple of 32 long."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, matrix in layer.int4.items():
        arrays[f"{name}.points"] = matrix.q[:, ::2] | matrix.q[:, 1::2] << 4
        arrays[f"{name}.scale"], arrays[f"{name}.zero"] = matrix.grid.scale, matrix.grid.zero
    for name, factors in layer.factors.items():
        arrays |= {f"{name}.{part}": value for part, value in vars(factors).items() if value is not None}
    return arrays


def _unpacked(arrays: Arrays, layer: str, assignment: Assignment) -> FittedLayer:
    found = FittedLayer(layer)
    for name in (name for name in assignment.formats if name.startswith(f"{layer}.")):
        if (points := arrays.get(f"{name}.points")) is not None:
            q = np.stack([points & 15, points >> 4], axis=-1).reshape(len(points), -1)
            grid = Int4Grid(arrays[f"{name}.scale"], arrays[f"{name}.zero"], assignment[name].block)
            found.int4[name] = Int4Matrix(q, grid)
        factors = Factors(arrays.get(f"{name}.rows"), arrays.get(f"{name}.columns"))
        if factors.rows is not None or factors.columns is not None:
            found.factors[name] = factors
    return found
