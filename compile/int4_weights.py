"""The int4 matrices of a checkpoint: chosen once for all backends whose grids are alike."""

from castline.compile.calibrate import calibrated_int4
from castline.compile.quantize import Int4Matrix, round_int4
from castline.compile.text_tokens import TextTokens
from castline.model.checkpoint import CheckpointReader


class Int4Weights:
    """Gives the matrices of the layers in int4: fitted to a text by GPTQ, or rounded where there is none."""

    def __init__(self, reader: CheckpointReader, block: int, text: TextTokens | None) -> None:
        """`block` elements of a row share a grid; `text` is what to calibrate on."""
        self.block = block
        self._reader = reader
        self._text = text
        self._fitted: dict[bool, dict[str, Int4Matrix]] = {}

    @property
    def method(self) -> str:
        """How the weights were chosen, for people."""
        if self._text is None:
            return "rounded to nearest"
        return f"GPTQ on {self._text.ids.size:,} tokens: {self._text.source}"

    def matrix(self, name: str, *, symmetric: bool) -> Int4Matrix:
        """The matrix of that name, on grids with their zero in the middle (`symmetric`) or anywhere."""
        if self._text is None:
            return round_int4(self._reader.tensor(name).float().numpy(), self.block, symmetric=symmetric)
        if symmetric not in self._fitted:
            fitted = calibrated_int4(self._reader, self._text.ids, self.block, symmetric=symmetric)
            self._fitted[symmetric] = dict(fitted)
        return self._fitted[symmetric][name]
