"""What every reader shares: where records come from, and turning bytes and strings into documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from castline.corpus.config import Source
from castline.corpus.documents import Document, Reason, Reject, UnreadableError, document_id
from castline.corpus.sources import SourceFile

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Origin:
    """The file a reader works on, and the source it belongs to."""

    source: Source
    file: SourceFile

    def document(
        self,
        text: str,
        record: int = 0,
        language: str | None = None,
        at: str = "",
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> Document | Reject:
        """A document of this file, or the reject that says why this text cannot be one."""
        if not text or text.isspace():
            return self.reject(Reason.EMPTY, at=at, detail="there is no text")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            detail = f"character {error.start} is half of a surrogate pair"
            return self.reject(Reason.BAD_UNICODE, at=at, detail=detail)
        source = self.source
        if source.language != "auto":
            language = source.language
        elif language is None:
            language = "unknown" if source.kind == "code" else "auto"
        return Document(
            document_id(source.name, self.file.path, record),
            source.name,
            source.kind,
            language,
            self.file.path,
            record,
            text,
            ({"licence": source.licence} if source.licence else {}) | dict(metadata),
        )

    def reject(self, reason: Reason, at: str = "", detail: str = "") -> Reject:
        """A record of this file that is no document; `at` is a line number, or words such as "byte 17"."""
        where = self.file.path
        if at:
            where += f":{at}" if at.isdigit() else f" ({at})"
        return Reject(reason, self.source.name, where, detail)


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 with a byte order mark; every line end becomes one line feed.

    Raises:
        UnreadableError: the bytes are no text.
    """
    check_text(data)
    try:
        text = data.decode("utf-16" if data.startswith(_UTF16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(Reason.NOT_UTF8, error.reason, at=f"byte {error.start}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def check_text(data: bytes) -> None:
    """Tell text from binary files, as git does: text has no NUL byte, unless it is UTF-16.

    Raises:
        UnreadableError: the bytes are no text.
    """
    if b"\0" in data and not data.startswith(_UTF16_MARKS):
        raise UnreadableError(Reason.BINARY, "a NUL byte", at=f"byte {data.index(0)}")
