"""What is stored of a checkpoint: every tensor as the backends' files hold it, fitted to a text or as it is.

Fitting may change more than the matrices it quantises (AWQ moves factors into norms), so whoever writes a tensor
asks for it here, whatever its format.
"""

from dataclasses import dataclass

from castline.compile.assignment import Assignment
from castline.compile.calibrate import Factors, fitted_layers
from castline.compile.config import Calibration
from castline.compile.quantize import Float32, Int4Matrix, round_int4
from castline.compile.text_tokens import TextTokens
from castline.model.checkpoint import CheckpointReader


@dataclass(frozen=True)
class _Fitted:
    int4: dict[str, Int4Matrix]
    factors: dict[str, Factors]


class Weights:
    """The tensors of a checkpoint, chosen once for all backends that store the same formats on like grids."""

    def __init__(self, reader: CheckpointReader, text: TextTokens | None, calibration: Calibration = "gptq") -> None:
        """`text` is what to calibrate on; without it, int4 is rounded to nearest."""
        self._reader = reader
        self._text = text if calibration != "none" else None
        self._calibration: Calibration = calibration
        self._fitted: list[tuple[Assignment, bool, _Fitted]] = []

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
        fitted = self._fit(assignment, symmetric).int4.get(name)
        if fitted is not None:
            return fitted
        return round_int4(self._reader.tensor(name).float().numpy(), assignment[name].block, symmetric=symmetric)

    def tensor(self, name: str, assignment: Assignment, *, symmetric: bool) -> Float32:
        """A tensor that is not stored in int4, before it is rounded to its format. Arguments as of `matrix`."""
        tensor: Float32 = self._reader.tensor(name).float().numpy()
        factors = self._fit(assignment, symmetric).factors.get(name)
        return tensor if factors is None else factors(tensor)

    def _fit(self, assignment: Assignment, symmetric: bool) -> _Fitted:
        if self._text is None or not any(".layers." in name for name in assignment.int4_blocks):
            return _Fitted({}, {})
        for known, middle, fitted in self._fitted:
            if (known.formats, middle) == (assignment.formats, symmetric):
                return fitted
        fitted = _Fitted({}, {})
        layers = fitted_layers(self._reader, self._text.ids, assignment, self._calibration, symmetric=symmetric)
        for layer in layers:
            fitted.int4.update(layer.int4)
            fitted.factors.update(layer.factors)
        self._fitted = [*self._fitted[-1:], (assignment, symmetric, fitted)]  # grids of two kinds: no build has more
        return fitted
