"""The C++ core: conversions only; the logic and its documentation are in csrc/."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__version__: str

class Tokenizer:
    """Byte-level BPE read from a Hugging Face tokenizer.json (csrc/tokenizer/tokenizer.hpp).

    Immutable, and safe to use from several threads; encoding and decoding release the GIL.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None: ...
    @staticmethod
    def from_json(text: str | bytes) -> Tokenizer: ...
    @property
    def vocab_size(self) -> int: ...
    def encode(self, text: str | bytes, add_special: bool = False) -> npt.NDArray[np.uint32]: ...
    def encode_batch(
        self, texts: Sequence[str | bytes], threads: int = 0, add_special: bool = False
    ) -> list[npt.NDArray[np.uint32]]: ...
    def decode(self, ids: Sequence[int] | npt.NDArray[np.uint32], skip_special: bool = False) -> bytes: ...
    def token_bytes(self, id: int) -> bytes: ...
    def token_id(self, token: str) -> int | None: ...
    def is_special(self, id: int) -> bool: ...

class StreamDecoder:
    """Turns a stream of ids into text, each piece whole UTF-8 characters."""

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = False) -> None: ...
    def push(self, id: int) -> str: ...
    def finish(self) -> str: ...

class GenerateResult:
    """What `Engine.generate` made."""

    @property
    def ids(self) -> list[int]:
        """The new tokens, the stop token excluded."""

    @property
    def text(self) -> str:
        """The text of `ids` without special tokens; empty for a package without a tokenizer."""

    @property
    def finish_reason(self) -> Literal["stop", "length", "cancelled"]: ...
    @property
    def prefill_seconds(self) -> float: ...
    @property
    def decode_seconds(self) -> float: ...

class Engine:
    """A package opened for running (csrc/include/castline/castline.h).

    Every method releases the GIL; calls from several threads take turns. `backend` is "cpu", "tensorrt" (an
    error where it cannot run) or "auto" (the best this machine has); `threads` 0 means one per processor.
    Results do not depend on the number of threads, to the bit. Ctrl-C stops a running call.

    Raises DataError for a damaged package, DeviceError for what the machine lacks, ValueError for a wrong
    argument.
    """

    def __init__(
        self,
        package: str | os.PathLike[str],
        backend: Literal["cpu", "tensorrt", "auto"] = "cpu",
        threads: int = 0,
    ) -> None: ...
    def info(self) -> dict[str, Any]:
        """The model's configuration and how it runs here (backend, weights, threads, cpu_level, …)."""

    @property
    def tokenizer(self) -> Tokenizer | None: ...
    def generate(
        self,
        prompt_ids: Sequence[int],
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        callback: Callable[[int, str], bool | None] | None = None,
    ) -> GenerateResult:
        """Continue the prompt until a stop token, `max_tokens` or the end of the context.

        Temperature 0 is greedy. `callback(id, text)` sees every new token and the text it completes (whole
        characters); returning False stops.
        """

    def score(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """The natural log-probability of ids[1:], each given all before it: [n - 1]."""

    def logits(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """The logits after every token: [n, vocab_size]."""

    def verify(self) -> None:
        """Check the SHA-256 of every file against package.json; DataError names the first that differs."""
