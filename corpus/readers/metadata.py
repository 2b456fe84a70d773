"""What a source says about a text, in one form: addresses, dates, languages, licences."""

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from castline.corpus.config import Source

# The fields that are taken where the recipe names none.
_USUAL_FIELDS = {"id": ("id",), "url": ("url",), "date": ("date", "timestamp"), "licence": ("licence", "license")}
_MILLISECONDS = 100_000_000_000  # a number this large is no date in seconds
_CODES = {"eng": "en", "zho": "zh", "chi": "zh", "cmn": "zh", "fra": "fr", "deu": "de", "spa": "es", "rus": "ru"}
_CODES |= {"jpn": "ja", "kor": "ko", "por": "pt", "ita": "it", "nld": "nl", "pol": "pl", "ara": "ar", "tur": "tr"}


def mapped_fields(source: Source) -> dict[str, str]:
    """The fields that the recipe maps, by what they hold: id, url, date, licence, language."""
    return {name: field for name in (*_USUAL_FIELDS, "language") if (field := getattr(source, f"{name}_field"))}


def wanted_columns(source: Source, names: list[str]) -> list[str]:
    """The columns of a table that `record_metadata` and `record_language` look at, of those there are."""
    mapped = mapped_fields(source)
    wanted = set(mapped.values())
    wanted.update(field for name, usual in _USUAL_FIELDS.items() if name not in mapped for field in usual)
    return [name for name in names if name in wanted]


def record_metadata(source: Source, record: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of one record. What is missing, null or of another type is left out."""
    mapped = mapped_fields(source)
    found = {}
    for name, usual in _USUAL_FIELDS.items():
        fields = (mapped[name],) if name in mapped else usual
        value = next((record[field] for field in fields if record.get(field) is not None), None)
        text = date_text(value) if name == "date" else _text(value)
        if text:
            found["record_id" if name == "id" else name] = text
    return found


def record_language(source: Source, record: Mapping[str, Any]) -> str | None:
    """The language that the record's mapped field names, as castline writes it; None where there is none.

    `en-US`, `eng_Latn` and `EN` are `en`; of code, `Jupyter Notebook` is `jupyter-notebook`.
    """
    value = record.get(source.language_field) if source.language_field else None
    if not isinstance(value, str):
        return None
    name = value.strip().lower().replace(" ", "-")
    if source.kind != "code":
        name = re.split("[-_]", name)[0]
        name = _CODES.get(name, name)
    return name if re.fullmatch("[a-z][a-z0-9+#_-]*", name) else None


def date_text(value: Any) -> str | None:
    """A moment as `2024-01-31T12:00:00Z`, so that later ones sort later; None for what is no date.

    Taken are dates and times, ISO 8601, the form of e-mail and HTTP headers, and seconds or milliseconds
    since 1970. Without a time zone it is taken for UTC.
    """
    try:
        moment = _moment(value)
        if moment is None:
            return None
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value / 1000 if abs(value) >= _MILLISECONDS else value, UTC)
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        return email.utils.parsedate_to_datetime(value)


def _text(value: Any) -> str:
    """A string or a number as text on one line that can be stored; anything else is empty."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return " ".join(str(value).encode("utf-8", "replace").decode().split())
