"""What every reader shares: where records come from, and turning texts into documents."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from castline.corpus.config import Source
from castline.corpus.documents import Document, Reason, Reject, UnreadableError, document_id
from castline.corpus.readers.content import Content
from castline.corpus.readers.encodings import decode

Record: TypeAlias = Document | Reject
Pending: TypeAlias = Callable[[], Record]


@dataclass(frozen=True)
class Origin:
    """The content a reader works on, and the source it belongs to."""

    source: Source
    path: str  # below the source's folder; of a member ARCHIVE/MEMBER
    content: Content
    span: tuple[int, int] | None = None  # the bytes of a piece: records that begin there are read
    first_line: int = 1  # the number of the first line that begins in the span
    depth: int = 0  # how many archives are around it
    metadata: dict[str, str] = field(default_factory=dict)

    def document(
        self,
        text: str,
        record: int = 0,
        language: str | None = None,
        at: str = "",
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> Record:
        """A document of this content, or the reject that says why this text cannot be one.

        Every line end becomes one line feed.
        """
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
        licence = {"licence": source.licence} if source.licence else {}
        return Document(
            document_id(source.name, self.path, record),
            source.name,
            source.kind,
            language,
            self.path,
            record,
            text,
            licence | self.metadata | dict(metadata),
        )

    def text(self, data: bytes, declared: str = "") -> tuple[str, dict[str, str]]:
        """The text of bytes with line feeds as line ends, and its encoding as metadata where it is not UTF-8.

        Raises:
            UnreadableError: the bytes are no text, or their encoding is not sure.
        """
        text, encoding = decode(data, self.source.encoding, declared)
        text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
        return text, {} if encoding == "utf-8" else {"encoding": encoding}

    def reject(self, reason: Reason, at: str = "", detail: str = "") -> Reject:
        """A record that is no document; `at` is a line number, or words such as "byte 17"."""
        where = self.path
        if at:
            where += f":{at}" if at.isdigit() else f" ({at})"
        return Reject(reason, self.source.name, where, detail)

    def unreadable(self, error: UnreadableError, at: str = "") -> Reject:
        """The reject of an error; `at` is its place where the error does not know it."""
        return self.reject(error.reason, error.at or at, error.detail)

    def later(self, make: Callable[[], Record], at: str = "") -> Pending:
        """A pending record; an `UnreadableError` of `make` becomes its reject."""

        def pending() -> Record:
            try:
                return make()
            except UnreadableError as error:
                return self.unreadable(error, at)

        return pending

    def rejected(self, reason: Reason, at: str = "", detail: str = "") -> Pending:
        """A pending record that is a reject."""
        return lambda: self.reject(reason, at, detail)
