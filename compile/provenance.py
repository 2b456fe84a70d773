"""Where something comes from, by content: the identity of a checkpoint."""

from pathlib import Path

from castline.files import sha256_file, sha256_json
from castline.model.checkpoint import INDEX_FILE
from castline.model.importer import PROVENANCE_FILE, TOKENIZER_FILES

_NAMES = (PROVENANCE_FILE, "config.json", "generation_config.json", INDEX_FILE, *TOKENIZER_FILES)


def checkpoint_sha256(checkpoint: Path) -> str:
    """The hash of the names and hashes of all that is read of a checkpoint folder."""
    files = [checkpoint / name for name in _NAMES if (checkpoint / name).is_file()]
    return sha256_json({path.name: sha256_file(path) for path in [*files, *sorted(checkpoint.glob("*.safetensors"))]})
