"""From a record's field to a document: the text itself, or a chat rendered as ChatML."""

from typing import Any

from castline.corpus.documents import Document, Reason, Reject
from castline.corpus.readers.metadata import record_language, record_metadata
from castline.corpus.readers.record import Origin
from castline.corpus.special_tokens import IM_END, IM_START, SPECIAL_TOKENS


def document_of(origin: Origin, record: Any, number: int, at: str) -> Document | Reject:
    """The document in the source's text field of `record`, or the reject that says what is wrong with it."""
    field = origin.source.field
    if not isinstance(record, dict):
        return origin.reject(Reason.BAD_FIELD, at, f"expected an object, but found {_kind(record)}")
    if field not in record:
        known = ", ".join(sorted(record)) or "nothing"
        detail = f"expected a field '{field}', but found: {known}; set the source's text_field"
        return origin.reject(Reason.BAD_FIELD, at, detail)
    value = record[field]
    if origin.source.kind == "chat":
        return _chat(origin, value, record, number, at)
    if not isinstance(value, str):
        detail = f"expected '{field}' to be a string, but found {_kind(value)}"
        return origin.reject(Reason.BAD_FIELD, at, detail)
    return _document(origin, value, record, number, at)


def _chat(origin: Origin, messages: Any, record: dict[str, Any], number: int, at: str) -> Document | Reject:
    expected = f"expected '{origin.source.field}' to be a list of objects with strings 'role' and 'content'"
    if not isinstance(messages, list):
        return origin.reject(Reason.BAD_FIELD, at, f"{expected}, but found {_kind(messages)}")
    turns = []
    for message in messages:
        turn = message if isinstance(message, dict) else {}
        role, content = turn.get("role"), turn.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            return origin.reject(Reason.BAD_FIELD, at, expected)
        found = next((token for token in SPECIAL_TOKENS if token in role + content), None)
        if found:
            return origin.reject(Reason.SPECIAL_TOKEN, at, f"a message holds the special token {found}")
        turns.append(f"{IM_START}{role}\n{content}{IM_END}\n")
    return _document(origin, "".join(turns), record, number, at)


def _document(origin: Origin, text: str, record: dict[str, Any], number: int, at: str) -> Document | Reject:
    source = origin.source
    return origin.document(text, number, record_language(source, record), at, record_metadata(source, record))


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
