"""What a run starts from: the corpus, the checkpoint to go on from if there is one, and the model they make."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from castline import __version__, files
from castline.corpus.shards import CorpusShards, TokenShards, open_shards
from castline.errors import DataError, RecipeError
from castline.model.checkpoint import CheckpointReader, load_decoder
from castline.model.config import ModelConfig, RunConfig
from castline.model.decoder import Decoder
from castline.model.hf_config import SpecialTokens
from castline.recipe import parse

# What a run may change of the model it starts from.
_MAY_CHANGE = {"max_position_embeddings", "rope_theta", "rope_scaling"}


@dataclass(frozen=True)
class Start:
    """A recipe, resolved: `config.model` and the phase are known, the corpus and the checkpoint are open."""

    config: RunConfig
    corpus_path: Path
    corpus: CorpusShards
    corpus_sha256: str
    checkpoint: CheckpointReader | None
    checkpoint_sha256: str | None

    @classmethod
    def open(cls, config: RunConfig) -> "Start":
        """Open what the recipe names and resolve its model.

        Raises:
            RecipeError: the recipe does not fit the corpus or the checkpoint.
            DataError: there is no finished corpus, or it is shorter than a sequence, or its tokenizer is not the
                checkpoint's.
            CheckpointError: the checkpoint is damaged.
        """
        path = config.train.data
        if path is None:
            raise RecipeError("expected train.data to name the corpus directory, but it is not set")
        corpus = open_shards(path)
        if not (path / "manifest.json").is_file():
            raise DataError(f"expected a finished corpus in {path}, but found no manifest.json; build it to the end")
        phase = corpus.phase(config.train.phase)
        tokens = corpus.manifest["splits"][phase]["tokens"]
        if tokens < config.train.sequence_length:
            raise DataError(
                f"expected at least train.sequence_length = {config.train.sequence_length} tokens to train on, but "
                f"{path} has {tokens} in phase '{phase}'; add text or shorten the sequence"
            )
        checkpoint = CheckpointReader(config.train.init) if isinstance(config.train.init, Path) else None
        if checkpoint is not None:
            _check_tokenizer(checkpoint.path, corpus)
        model = _resolve_model(config.model, int(corpus.manifest["vocab_size"]), checkpoint)
        # Validated again: the recipe's checks hold for what came from the checkpoint, too.
        train = config.train.model_dump() | {"phase": phase}
        values = {"seed": config.seed, "model": model.model_dump(), "train": train}
        resolved = parse(RunConfig, values, "the recipe")
        corpus_sha256 = files.sha256_file(path / "manifest.json")
        return cls(resolved, path, corpus, corpus_sha256, checkpoint, _weights_sha256(checkpoint))

    @property
    def shards(self) -> TokenShards:
        """The training shards of the recipe's phase."""
        return self.corpus.split(self.corpus.phase(self.config.train.phase))

    @property
    def special_tokens(self) -> SpecialTokens:
        """Generation ends where a document does, and where the checkpoint's did."""
        eos = self.corpus.manifest["eos_id"]
        if self.checkpoint is None:
            return SpecialTokens(eos_ids=(eos,))
        found = self.checkpoint.special_tokens
        return SpecialTokens(tuple(dict.fromkeys((eos, *found.eos_ids))), found.bos_id, found.pad_id)

    def decoder(self) -> Decoder:
        """The model before the first step."""
        if self.checkpoint is None:
            return Decoder(self.config.model, self.config.seed, fused=self.config.train.fused_ops)
        return load_decoder(self.checkpoint, config=self.config.model, fused=self.config.train.fused_ops)

    def identity(self, out: Path) -> dict[str, Any]:
        """What decides the run, for its `run.json`; paths are relative to the folder `out`."""
        recipe = self.config.model_dump(mode="json")
        recipe["train"]["data"] = os.path.relpath(self.corpus_path, out)
        if self.checkpoint is not None:
            recipe["train"]["init"] = os.path.relpath(self.checkpoint.path, out)
        return {
            "castline_version": __version__,
            "recipe": recipe,
            "corpus": {"path": recipe["train"]["data"], "manifest_sha256": self.corpus_sha256},
            "init": {"path": recipe["train"]["init"], "sha256": self.checkpoint_sha256},
            "environment": {
                "torch": torch.__version__,
                "threads": self.config.train.threads or len(os.sched_getaffinity(0)),
            },
        }

    def companions(self, checkpoint: Path, step: int, tokens: int) -> dict[str, bytes]:
        """The files beside a checkpoint's weights: the tokenizer's, and `castline.json`, which says whence they come.

        Paths in it are relative to the `checkpoint` folder.
        """
        identity = self.identity(checkpoint)
        provenance = {
            "castline_version": __version__,
            "corpus": identity["corpus"],
            "run": {"recipe": identity["recipe"], "init": identity["init"], "steps": step},
            "tokens": tokens,
        }
        return self._tokenizer_files() | {"castline.json": _json_bytes(provenance)}

    def _tokenizer_files(self) -> dict[str, bytes]:
        """The corpus's tokenizer as transformers wants it; nothing where the corpus has none."""
        path = self.corpus_path / "tokenizer.json"
        if not path.is_file():
            return {}
        content = path.read_bytes()
        added = json.loads(content).get("added_tokens", [])
        eos = self.corpus.manifest["eos_id"]
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "eos_token": next((token["content"] for token in added if token["id"] == eos), None),
            "model_max_length": self.config.model.max_position_embeddings,
        }
        return {"tokenizer.json": content, "tokenizer_config.json": _json_bytes(config)}


def _resolve_model(model: ModelConfig, vocab_size: int, checkpoint: CheckpointReader | None) -> ModelConfig:
    """The recipe's model with the tokenizer's vocabulary, or the checkpoint's as far as the recipe may change it."""
    if checkpoint is None:
        model = model.model_copy(update={"vocab_size": model.vocab_size or vocab_size})
    else:
        given = {name: getattr(model, name) for name in sorted(model.model_fields_set)}
        found = checkpoint.config.model_dump()
        differing = [
            f"model.{name}: {value!r} here, {found[name]!r} in the checkpoint"
            for name, value in given.items()
            if name not in _MAY_CHANGE and value != found[name]
        ]
        if differing:
            raise RecipeError(f"the recipe describes another model than {checkpoint.path}\n  " + "\n  ".join(differing))
        model = checkpoint.config.model_copy(update={name: given[name] for name in _MAY_CHANGE & given.keys()})
    if model.vocab_size < vocab_size:
        raise RecipeError(
            f"expected model.vocab_size to be at least the tokenizer's {vocab_size}, but got {model.vocab_size}"
        )
    return model


def _weights_sha256(checkpoint: CheckpointReader | None) -> str | None:
    if checkpoint is None:
        return None
    return files.sha256_json({p.name: files.sha256_file(p) for p in sorted(checkpoint.path.glob("*.safetensors"))})


def _check_tokenizer(checkpoint: Path, corpus: CorpusShards) -> None:
    path = checkpoint / "tokenizer.json"
    if path.is_file() and files.sha256_file(path) != corpus.manifest["tokenizer_sha256"]:
        raise DataError(
            f"expected a corpus encoded with {path}, but {corpus.root.parent} was encoded with another tokenizer"
        )


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
