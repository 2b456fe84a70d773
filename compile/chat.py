"""Conversations: the chat template of a checkpoint into its package, and messages into a prompt.

`chat_template.json` in a package holds the compiled template (chat_template.py) and, under `context`, the
special tokens that templates ask for by name.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from castline import _C
from castline.compile.chat_template import compile_chat_template
from castline.compile.package import check_files, read_file, read_json_file, read_manifest
from castline.errors import CompileError, DataError, PackageError
from castline.files import read_json, write_json

CHAT_TEMPLATE = "chat_template.json"

Message = dict[str, Any]
"""`role` and `content`, and what else a template knows."""

_CONFIG = "tokenizer_config.json"
_SOURCE = "chat_template.jinja"
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


def write_chat_template(checkpoint: Path, folder: Path) -> str | None:
    """Compile the chat template of a checkpoint into a package folder; the file's name, None where there is none.

    Raises:
        CompileError: the template cannot be rendered in C++.
    """
    path = checkpoint / _CONFIG
    config = read_json(path) if path.is_file() else {}
    found = _template(checkpoint, config)
    if found is None:
        return None
    source, where = found
    tokens = {name: _text_of(config[name]) for name in _TOKENS if config.get(name) is not None}
    write_json(folder / CHAT_TEMPLATE, compile_chat_template(source, where) | {"context": tokens})
    return CHAT_TEMPLATE


class Chat:
    """Turns conversations into prompts, as the package's template and tokenizer have it."""

    def __init__(self, package: Path) -> None:
        """Open the template of a package.

        Raises:
            PackageError: the package is damaged.
            DataError: it has no chat template, or no tokenizer.
        """
        manifest = read_manifest(package)
        check_files(package, manifest)
        if manifest.chat_template is None or manifest.tokenizer is None:
            raise DataError(
                f"{package} has no chat template: its checkpoint came without one, so there is no telling how this "
                "model expects a conversation; continue plain text with `castline run`"
            )
        where = str(package / manifest.chat_template)
        values = read_json_file(package, manifest.chat_template)
        if not isinstance(values, dict):
            raise PackageError(f"{where}: expected a compiled chat template")
        self._context: dict[str, Any] = values.get("context", {})
        self._template = _C.ChatTemplate(read_file(package, manifest.chat_template).decode(), where)
        self._tokenizer = _C.Tokenizer.from_json(read_file(package, manifest.tokenizer))

    def render(self, messages: Sequence[Message], **more: Any) -> str:
        """The prompt's text, ready for the assistant's answer; `more` is what else the template takes (`tools`).

        Raises:
            DataError: the template refuses these messages.
        """
        context = self._context | {"messages": list(messages), "add_generation_prompt": True} | more
        try:
            return self._template.render(json.dumps(context, ensure_ascii=False))
        except ValueError as error:
            raise DataError(f"this model's chat template does not take these messages: {error}") from None

    def prompt_ids(self, messages: Sequence[Message], **more: Any) -> list[int]:
        """The prompt's token ids; a template writes its special tokens itself."""
        return [int(i) for i in self._tokenizer.encode(self.render(messages, **more))]


def _template(checkpoint: Path, config: Any) -> tuple[str, str] | None:
    """The source of a checkpoint's template, and where it is."""
    if (checkpoint / _SOURCE).is_file():
        return (checkpoint / _SOURCE).read_text(), str(checkpoint / _SOURCE)
    where = f"{checkpoint / _CONFIG}: chat_template"
    if not isinstance(config, dict) or config.get("chat_template") is None:
        return None
    template = config["chat_template"]
    if isinstance(template, list):  # several, by name
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        template = named.get("default")
    if not isinstance(template, str):
        raise CompileError(f"{where}: expected a template, or a list of them with one called `default`")
    return template, where


def _text_of(token: Any) -> str:
    """A special token, which some files write as an object."""
    return str(token["content"]) if isinstance(token, dict) else str(token)
