"""Content-Disposition (RFC 6266) of an answer, with the file name of the upload."""

from __future__ import annotations

import re
from urllib.parse import quote

__all__ = ["content_disposition"]

MAX_STEM = 100
_TOKEN = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]+")
# Not part of a name on one of the common systems; "%" because browsers decode it (RFC 6266, appendix D).
_UNSAFE = re.compile(r'[<>:"|?*%]')


def content_disposition(kind: str, upload_name: str, extension: str, *, default: str) -> str:
    """Return the header's value: the upload's name with another extension; `default` is the stem without a name."""
    name = f"{_stem(upload_name) or default}.{extension}"
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    value = f"{kind}; filename={plain if _TOKEN.fullmatch(plain) else _quoted(plain)}"
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


def _stem(upload_name: str) -> str:
    """Return the name without folders, extension, unprintable characters, and dots at its ends; may be empty."""
    # Lone surrogates, control and bidirectional characters are not printable.
    printable = "".join(filter(str.isprintable, re.split(r"[/\\]", upload_name[-1024:])[-1]))
    name = _UNSAFE.sub("_", printable).strip(" .")
    stem, dot, _ = name.rpartition(".")
    return (stem if dot else name)[:MAX_STEM].strip(" .")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
