"""The C++ core: conversions only; the logic and its documentation are in csrc/."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__version__: str

MEASUREMENTS: tuple[str, ...]
"""The columns of `measure`, in order; each is defined in csrc/text/measure.hpp."""

def measure(
    texts: Sequence[str | bytes], threads: int = 1
) -> dict[str, npt.NDArray[np.int64] | npt.NDArray[np.float64]]:
    """Every number that a corpus rule looks at: for each name of `MEASUREMENTS` an array with one value per text.

    Counts are int64, fractions and means float64 (0.0 where there is nothing to divide by). Characters are Unicode
    code points. Bytes that are not UTF-8 never fail: they count as U+FFFD, as in `bytes.decode("utf-8", "replace")`.
    Releases the GIL. `threads` 0 means one per processor; the result does not depend on it.
    """

def tokens(text: str | bytes, kind: Literal["text", "code"] = "text") -> list[str]:
    """The words and symbol runs that `measure` and the shingles are made of (csrc/text/tokens.hpp)."""

def token_lines(texts: Sequence[str | bytes], limit: int, threads: int = 1) -> list[str]:
    """The first `limit` tokens of every text (as `tokens` gives them) in lower case, one space between two of them."""

def count_characters(texts: Sequence[str | bytes], counts: npt.NDArray[np.int64]) -> None:
    """Add to `counts` [0x110000] how often each code point beyond ASCII occurs in the texts. Releases the GIL."""

def content_hashes(texts: Sequence[str | bytes], threads: int = 1) -> npt.NDArray[np.uint64]:
    """A 128-bit hash of each text, white space runs as one space: uint64 [n, 2]. Equal rows are exact duplicates."""

def gptq(
    weights: npt.NDArray[np.float32],
    factor: npt.NDArray[np.float32],
    order: npt.NDArray[np.int64],
    block: int,
    symmetric: bool = False,
    threads: int = 0,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """A matrix [out, in] in 4 bits by GPTQ (csrc/kernels/quantize/gptq.hpp): q [out, in], scale and zero [out, blocks].

    `factor` [in, in] is the upper triangular U with UᵀU = H⁻¹, its rows and columns in the `order` in which the
    matrix's columns are rounded. Releases the GIL. The result does not depend on `threads` (0: one per processor).
    """

def minhash(
    texts: Sequence[str | bytes],
    kind: Literal["text", "code"] = "text",
    permutations: int = 128,
    threads: int = 1,
) -> npt.NDArray[np.uint32]:
    """MinHash signatures of the texts' shingles: uint32 [n, permutations].

    A shingle is five consecutive words (all of a shorter text's words). Kind "text": lower-cased words, a Han character
    being one; "code": identifiers, numbers and single symbols, case kept. The share of equal columns of two rows
    estimates their Jaccard similarity. A text without words has 2**32 - 1 everywhere.
    """

def choose_bands(threshold: float, permutations: int = 128, recall: float = 0.98) -> tuple[int, int]:
    """Bands and rows for locality-sensitive hashing that find a pair at `threshold` with at least `recall`."""

class TermMatcher:
    """Finds listed terms in texts: folded, with boundaries where words have them (csrc/text/terms.hpp)."""

    def __init__(self, terms: Sequence[str | bytes], exceptions: Sequence[str | bytes] = ()) -> None:
        """A term within one of the longer `exceptions` does not count. ValueError: of a term folding leaves nothing."""
    def __len__(self) -> int: ...
    def find(self, texts: Sequence[str | bytes], threads: int = 1) -> list[list[int]]:
        """For every text the numbers of the terms found, in order; overlapping ones count once. Releases the GIL."""

class ContaminationIndex:
    """The n-grams of evaluation data (csrc/text/contamination.hpp)."""

    def __init__(
        self, texts: Sequence[str | bytes], records: npt.NDArray[np.int64], ngram: int = 13, least: int = 8
    ) -> None:
        """`records` [n]: the number, from 0, of each text's record; texts below `least` words do not count."""
    @property
    def record_ngrams(self) -> list[int]:
        """Different n-grams of every record."""
    def find(
        self, texts: Sequence[str | bytes], threads: int = 1
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For every text: at how many places an evaluation n-gram begins; the record it shares the most different
        n-grams with (-1: none); how many those are. Releases the GIL.
        """

class DomainSet:
    """Lists of domains, eight bytes for each (csrc/text/domains.hpp)."""

    def __init__(self, lists: Sequence[str | bytes]) -> None:
        """Each of ASCII, a domain per line, or a hosts file. ValueError: a line is not like this."""
    def __len__(self) -> int: ...
    def holds(self, host: str) -> bool:
        """Whether `host`, in lower case and without "www.", or a domain that it is in is listed."""

def mask_private(
    texts: Sequence[str | bytes],
    kind: Literal["text", "code"] = "text",
    kinds: Sequence[str] = ("email", "ip", "phone", "key"),
    threads: int = 1,
) -> tuple[list[str | None], npt.NDArray[np.int64]]:
    """The texts with private data replaced by placeholders, None for a text without any (csrc/text/private_data.hpp).

    And how many of each kind: int64 [n, 4], in the order email, ip, phone, key whatever `kinds` asks for. Releases the
    GIL.
    """

class DuplicateIndex:
    """What a search for duplicates needs of documents, as bytes of a file (csrc/text/duplicate_index.hpp).

    Documents are numbered in the order they come. The bytes depend neither on threads nor on how the documents are
    divided into calls.
    """

    def __init__(
        self, threshold: float = 0.7, permutations: int = 128, recall: float = 0.98, *, near: bool = True
    ) -> None:
        """Bands for near duplicates at the threshold; without `near` it serves exact duplicates only."""

    @property
    def bands(self) -> int: ...
    @property
    def rows(self) -> int: ...
    def __len__(self) -> int: ...
    def add(
        self,
        texts: Sequence[str | bytes],
        kind: Literal["text", "code"] = "text",
        contents: npt.NDArray[np.uint64] | None = None,
        threads: int = 1,
    ) -> None:
        """Add documents; a code document and a text document are never near duplicates. Releases the GIL.

        Args:
            texts: the documents.
            kind: of all of them.
            contents: their `content_hashes`, which exact duplicates are found by.
            threads: how many.
        """

    def __bytes__(self) -> bytes: ...

def find_duplicates(
    files: Sequence[str],
    threshold: float = 0.7,
    *,
    known: npt.NDArray[np.integer[Any]] = ...,
    exact: bool = True,
    memory: int = ...,
    threads: int = 1,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.float64], npt.NDArray[np.uint32]]:
    """Duplicates among the documents of index files, numbered in order through all of them.

    Args:
        files: paths of what `bytes(DuplicateIndex)` gave.
        threshold: the least Jaccard similarity of near duplicates.
        known: for the first `len(known)` documents the clusters found before; pairs among them are not looked for.
        exact: whether documents with the same content hash are duplicates.
        memory: bytes; the result does not depend on it, nor on `threads`.
        threads: how many.

    Returns:
        first, second, similarity: verified pairs (first < second, Jaccard similarity of the shingle sets), sorted. They
        are a spanning forest: a cluster of n documents gives n - 1 pairs. And for every document the smallest
        of its cluster.

    Raises:
        DataError: a file is damaged, or was made with other settings than the first.
        DeviceError: a file cannot be read.
    """

class ChatTemplate:
    """A chat template compiled by castline.compile.chat_template (csrc/chat/chat_template.hpp)."""

    def __init__(self, program: str, where: str = "chat template") -> None: ...
    def render(self, context: str, now: int | None = None) -> str:
        """The text for a context given as JSON: messages, add_generation_prompt, …

        Releases the GIL. `now` is what strftime_now tells, in seconds since 1970.

        Raises:
            ValueError: the template fails on this context, or says so itself.
        """

class NgramModel:
    """A trigram model of token ids that learns as it reads (csrc/text/ngram_model.hpp)."""

    def __init__(self, vocab_size: int) -> None: ...
    def add(self, tokens: Sequence[int] | npt.NDArray[np.integer[Any]]) -> None:
        """Learn the tokens of one text. Releases the GIL."""

    def probability(self, context: Sequence[int] | npt.NDArray[np.integer[Any]], token: int) -> float:
        """The probability of `token` after `context`, of which the last two tokens count."""

    def context_gains(
        self, tokens: Sequence[int] | npt.NDArray[np.integer[Any]], segments: npt.NDArray[np.int64], threads: int = 1
    ) -> npt.NDArray[np.float64]:
        """By how many nats per token a segment makes the next one more predictable: [n].

        `segments` [n, 3] are where, in `tokens`, a segment starts, the next one starts, and that one ends. Releases
        the GIL. `threads` 0 means one per processor; the result does not depend on it.
        """

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
    def pre_tokenize(self, text: str | bytes) -> list[bytes]: ...
    def token_bytes(self, id: int) -> bytes: ...
    def token_id(self, token: str) -> int | None: ...
    def is_special(self, id: int) -> bool: ...

class StreamDecoder:
    """Turns a stream of ids into text, each piece whole UTF-8 characters."""

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = False) -> None: ...
    def push(self, id: int) -> str: ...
    def finish(self) -> str: ...

def cpu_levels() -> list[str]:
    """The instruction sets that the kernels can use on this machine, lowest first: scalar, avx2, avx512.

    The environment variable CASTLINE_CPU picks one; the default is the last.
    """

def examine_tensorrt(search: str) -> dict[str, Any]:
    """What this build and this machine have of what running TensorRT engines takes.

    `search`: folders or files, separated by ":", where the libraries are looked for. Keys: `left_out` (why this build
    has no TensorRT backend, or ""), `libraries` (by Python module: name and version, or "", and the file, or why it is
    missing), `gpu` (its name, or ""), `compute_capability`, `driver` (the newest CUDA it supports, or why there is no
    GPU).
    """

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

def archive_members(path: str | os.PathLike[str]) -> list[tuple[str, int, int, int]]:
    """The members of a package in one file: (name, offset of the data, size, CRC-32), in the order of the file.

    Raises PackageError for a file that is no such archive, or damaged.
    """

class Engine:
    """A package opened for running (csrc/include/castline/castline.h).

    Every method releases the GIL; calls from several threads take turns. `backend` is "cpu", "tensorrt" (an
    error where it cannot run) or "auto" (the best this machine has); `threads` 0 means one per processor.
    Results do not depend on the number of threads, to the bit. Ctrl-C stops a running call.

    Raises DataError for a damaged package, DeviceError for what the machine lacks, ValueError for a wrong
    argument. `tensorrt_path` says where TensorRT's library is: folders or files, separated by ":"; by default where
    pip put it. The environment variable CASTLINE_TENSORRT_PATH goes before it, the system's loader after it.
    """

    def __init__(
        self,
        package: str | os.PathLike[str],
        backend: Literal["cpu", "tensorrt", "auto"] = "cpu",
        threads: int = 0,
        tensorrt_path: str | None = None,
    ) -> None: ...
    def info(self) -> dict[str, Any]:
        """The model's configuration and how it runs here (backend, weights, threads, processor, …).

        `note` says why "auto" did not take a TensorRT engine that the package has. Where one runs, `engine` is its
        file in the package and `library` what runs it.
        """

    @property
    def tokenizer(self) -> Tokenizer | None: ...
    def generate(
        self,
        prompt_ids: Sequence[int] | npt.NDArray[np.integer[Any]],
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

    def score(self, ids: Sequence[int] | npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """The natural log-probability of ids[1:], each given all before it: [n - 1]."""

    def logits(self, ids: Sequence[int] | npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """The logits after every token: [n, vocab_size]."""

    def verify(self) -> None:
        """Check the SHA-256 of every file against package.json; DataError names the first that differs."""
