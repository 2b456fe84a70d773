"""Private data: e-mail addresses, IP addresses, telephone numbers, keys and secrets, replaced by placeholders.

What is found, and what is not, is defined in csrc/text/private_data.hpp. Columns: how many of each kind were
replaced in a document.
"""

from dataclasses import replace
from typing import Any

from castline import _C
from castline.corpus.annotate.annotator import Annotation, Annotator, Column
from castline.corpus.annotate.config import PrivacyConfig
from castline.corpus.documents import Document

_COLUMNS = {"email": "private_emails", "ip": "private_ips", "phone": "private_phones", "key": "private_keys"}
_ABOUT = {"email": "e-mail addresses", "ip": "IP addresses", "phone": "telephone numbers", "key": "keys and secrets"}


class PrivacyAnnotator(Annotator):
    """Masks the kinds that `[privacy] mask` lists."""

    name = "privacy"
    version = 1

    def __init__(self, config: PrivacyConfig) -> None:
        self._kinds = [kind for kind in _COLUMNS if kind in config.mask]
        self.columns = tuple(Column(_COLUMNS[kind], "int64", f"{_ABOUT[kind]} masked") for kind in self._kinds)

    def identity(self) -> dict[str, Any]:
        """The kinds."""
        return {"mask": self._kinds}

    def annotate(self, documents: list[Document]) -> Annotation:
        """Mask and count."""
        kind: Any = "code" if documents and documents[0].kind == "code" else "text"
        masked, counts = _C.mask_private([document.text for document in documents], kind, self._kinds)
        edited = [
            document if text is None else replace(document, text=text)
            for document, text in zip(documents, masked, strict=True)
        ]
        values = {_COLUMNS[name]: counts[:, at] for at, name in enumerate(_COLUMNS) if name in self._kinds}
        return Annotation(edited, values)
