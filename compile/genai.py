"""What onnxruntime-genai looks for beside a graph: `genai_config.json`, and the tokenizer with its configuration."""

from pathlib import Path
from typing import Any

from castline.files import read_json, write_bytes, write_json
from castline.model.checkpoint import CheckpointReader

CONFIG = "genai_config.json"

_TOKENIZER = "tokenizer.json"
_TOKENIZER_CONFIG = "tokenizer_config.json"


def write_genai_files(reader: CheckpointReader, graph: Path, context: int) -> None:
    """Make the folder of a contributed graph one that onnxruntime-genai loads.

    Args:
        reader: the checkpoint; of one without a tokenizer, genai takes ids only
        graph: the graph that `graph_contrib` wrote
        context: the longest sequence
    """
    write_json(graph.with_name(CONFIG), _config(reader, graph.name, context))
    if (reader.path / _TOKENIZER).is_file():
        write_bytes(graph.with_name(_TOKENIZER), (reader.path / _TOKENIZER).read_bytes())
        write_json(graph.with_name(_TOKENIZER_CONFIG), _tokenizer_config(reader.path))


def _config(reader: CheckpointReader, graph: str, context: int) -> dict[str, Any]:
    model, special = reader.config, reader.special_tokens
    pad = special.pad_id if special.pad_id is not None else next(iter(special.eos_ids), 0)
    tokens: dict[str, Any] = {"eos_token_id": special.eos_ids, "pad_token_id": pad}
    if special.bos_id is not None:
        tokens["bos_token_id"] = special.bos_id
    caches = {
        "inputs": {"past_key_names": "past_key_values.%d.key", "past_value_names": "past_key_values.%d.value"},
        "outputs": {"present_key_names": "present.%d.key", "present_value_names": "present.%d.value"},
    }
    return {
        "model": {
            "type": "llama",
            "vocab_size": model.vocab_size,
            "context_length": context,
            **tokens,
            "decoder": {
                "filename": graph,
                "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
                "num_hidden_layers": model.num_hidden_layers,
                "num_attention_heads": model.num_attention_heads,
                "num_key_value_heads": model.num_key_value_heads,
                "hidden_size": model.hidden_size,
                "head_size": model.head_dim,
                "inputs": {"input_ids": "input_ids", "attention_mask": "attention_mask", **caches["inputs"]},
                "outputs": {"logits": "logits", **caches["outputs"]},
            },
        },
        # Greedy, with the cache updated in place; a program may choose otherwise.
        "search": {"do_sample": False, "max_length": context, "past_present_share_buffer": True},
    }


def _tokenizer_config(checkpoint: Path) -> dict[str, Any]:
    """The checkpoint's, with what genai demands: the class of a fast tokenizer."""
    path = checkpoint / _TOKENIZER_CONFIG
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    return {"tokenizer_class": "PreTrainedTokenizerFast"} | found
