"""`castline init`: a starter recipe for a folder of one's own data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from castline.cli.output import note
from castline.errors import DataError, RecipeError
from castline.files import write_text

# Which files make which kind of source, and the glob that finds them.
TEXT_SUFFIXES = {".txt", ".md", ".html", ".htm", ".jsonl", ".parquet"}
CODE_SUFFIXES = {".py", ".js", ".ts", ".c", ".h", ".cpp", ".hpp", ".cc", ".java", ".go", ".rs", ".cu", ".sh"}

_HEADER = """\
# One recipe for the whole path. Paths are relative to this file.
#
#   castline corpus build {name} --out corpus
#   castline train run {name} --out run
#   castline compile run/checkpoint --out package
#   castline run package --prompt "..."
seed = 0
"""

_SOURCE = """
[[sources]]
name = "{name}"
path = "{path}"
kind = "{kind}"          # text, code or chat
language = "{language}"      # auto, en, zh, ...
weight = 1.0           # how many times its tokens are read in training
"""

_REST = """
[tokenizer]
vocab_size = {vocab_size}

[model]                # about {parameters} million parameters
hidden_size = {hidden}
intermediate_size = {intermediate}
num_hidden_layers = {layers}
num_attention_heads = {heads}
num_key_value_heads = {kv_heads}
max_position_embeddings = 1024
tie_word_embeddings = true

[train]
data = "corpus"        # what `castline corpus build` wrote
steps = {steps}
sequence_length = 512
batch_size = 8
micro_batch_size = 4

[compile]
weights = "int8"
"""


@dataclass(frozen=True)
class _Shape:
    """A model that suits so many bytes of text."""

    vocab_size: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    steps: int

    @property
    def parameters(self) -> float:
        """Millions of parameters, embeddings tied."""
        head = self.hidden // self.heads
        attention = self.hidden * head * (2 * self.heads + 2 * self.kv_heads)
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return (self.vocab_size * self.hidden + self.layers * layer + self.hidden) / 1e6


def init_command(
    folder: Annotated[Path, typer.Argument(help="The folder with your text and code.")] = Path(),
    name: Annotated[str, typer.Option(help="File name of the recipe.")] = "recipe.toml",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing recipe.")] = False,
) -> None:
    """Write a starter recipe for a folder of your own data."""
    if not folder.is_dir():
        raise DataError(f"expected a folder at {folder}, but there is none; name the folder that holds your text")
    target = folder / name
    if target.exists() and not force:
        raise RecipeError(f"{target} exists; --force replaces it, --name writes another file")
    write_text(target, starter_recipe(folder, name))
    note(f"wrote {target}; look it over, then: castline corpus build {target} --out {folder / 'corpus'}")
    print(target)


def starter_recipe(folder: Path, name: str = "recipe.toml") -> str:
    """A recipe for what lies in `folder`: one source per kind of file per top-level folder.

    Raises:
        DataError: the folder holds no file of a kind that castline reads.
    """
    sources: dict[tuple[str, str, str], int] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or not path.is_file() or path.name == name:
            continue
        kind, suffix = _kind(path)
        if kind:
            top = relative.parts[0] if len(relative.parts) > 1 else ""
            key = (kind, top, "" if kind == "code" else suffix)
            sources[key] = sources.get(key, 0) + path.stat().st_size
    if not sources:
        known = " ".join(sorted(TEXT_SUFFIXES | CODE_SUFFIXES))
        raise DataError(f"expected text or code under {folder}, but found none; castline reads {known}")
    text = _HEADER.format(name=name)
    for kind, top, suffix in sources:
        label = "-".join(part for part in (top or "here", suffix.split(".")[1] if suffix else kind) if part)
        prefix = f"{top}/**/" if top else ""
        pattern = f"{prefix}*{suffix}"
        language = "code" if kind == "code" else "auto"
        text += _SOURCE.format(name=label, path=pattern, kind=kind, language="auto" if language == "code" else language)
    shape = _shape(sum(sources.values()))
    return text + _REST.format(**vars(shape), parameters=f"{shape.parameters:.1f}")


def _kind(path: Path) -> tuple[str, str]:
    name = path.name.lower()
    for ending in (".jsonl.zst", ".jsonl.gz"):
        if name.endswith(ending):
            return "text", ending
    suffix = path.suffix.lower()
    if suffix in TEXT_SUFFIXES:
        return "text", suffix
    return ("code", suffix) if suffix in CODE_SUFFIXES else ("", "")


def _shape(size: int) -> _Shape:
    if size < 2_000_000:
        return _Shape(1024, 128, 384, 4, 4, 2, 300)
    if size < 200_000_000:
        return _Shape(8192, 256, 768, 6, 8, 2, 2000)
    return _Shape(16_384, 512, 1536, 8, 8, 2, 20_000)
