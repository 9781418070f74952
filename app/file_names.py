"""Names of files made from the names of uploads."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["EXTENSIONS", "safe_name", "safe_stem", "same_file_key"]

# Endings of results by MIME type.
EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/avif": "avif",
    "application/zip": "zip",
}
MAX_LENGTH = 100
# Not part of a name on one of the common systems; "%" because browsers decode it (RFC 6266, appendix D).
_UNSAFE = re.compile(r'[<>:"|?*%]')


def safe_name(upload_name: str) -> str:
    """Return a name without folders, unprintable characters, and dots at its ends; may be empty."""
    # Lone surrogates, control and bidirectional characters are not printable.
    printable = "".join(filter(str.isprintable, re.split(r"[/\\]", upload_name[-1024:])[-1]))
    return _UNSAFE.sub("_", printable).strip(" .")


def safe_stem(upload_name: str) -> str:
    """Return a safe name without its extension, of at most 100 characters; may be empty."""
    name = safe_name(upload_name)
    stem, dot, _ = name.rpartition(".")
    return (stem if dot else name)[:MAX_LENGTH].strip(" .")


def same_file_key(name: str) -> str:
    """Return a key that is equal for names of the same file on systems that ignore case or Unicode's normal form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
