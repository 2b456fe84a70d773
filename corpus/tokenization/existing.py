"""Another model's tokenizer: its `tokenizer.json`, and what the `tokenizer_config.json` beside it says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from castline import _C
from castline.corpus.special_tokens import END_OF_TEXT
from castline.errors import DataError
from castline.files import read_json, sha256_file, sha256_json


@dataclass(frozen=True)
class ExistingTokenizer:
    """An existing tokenizer, checked: castline's encoder reads it, and it has a token to end documents with."""

    path: Path
    values: dict[str, Any]  # of tokenizer.json
    config: dict[str, Any]  # of tokenizer_config.json
    tokenizer: _C.Tokenizer
    end_of_text: str

    @classmethod
    def open(cls, path: Path, end_of_text: str | None) -> "ExistingTokenizer":
        """Read `path`; `end_of_text` where the configuration does not say it, or says another.

        Raises:
            DataError: there is no such file, castline cannot encode with it, or no token ends documents.
        """
        values = read_json(path)
        tokenizer = _C.Tokenizer(path)
        beside = _configuration(path)
        config = read_json(beside) if beside.is_file() else {}
        end = end_of_text or _content(config.get("eos_token")) or END_OF_TEXT
        special = [token["content"] for token in values.get("added_tokens", []) if token["special"]]
        if end not in special:
            raise DataError(
                f"{path}: expected a special token that ends documents, but '{end}' is none; set tokenizer.end_of_text "
                f"to one of its special tokens ({', '.join(special[:8]) or 'it has none'})"
            )
        return cls(path, values, config, tokenizer, end)

    def require(self, tokens: tuple[str, ...], why: str) -> None:
        """Check that these are special tokens.

        Raises:
            DataError: one is missing; says `why` it is needed.
        """
        special = {token["content"] for token in self.values.get("added_tokens", []) if token["special"]}
        missing = [token for token in tokens if token not in special]
        if missing:
            raise DataError(f"{self.path}: expected the special token {missing[0]} {why}, but it has none")


def _content(token: Any) -> str | None:
    """A token as configurations write it: its content, or an object with it."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None


def existing_files_hash(path: Path | None) -> str:
    """What identifies an existing tokenizer and its configuration; empty where there is none."""
    if path is None:
        return ""
    files = [path, _configuration(path)]
    return sha256_json([sha256_file(file) if file.is_file() else "" for file in files])


def _configuration(path: Path) -> Path:
    return path.with_name("tokenizer_config.json")
