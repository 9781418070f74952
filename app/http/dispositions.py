"""Content-Disposition (RFC 6266) of an answer, with the file name of the upload."""

from __future__ import annotations

import re
from urllib.parse import quote

from app.file_names import safe_stem

__all__ = ["content_disposition"]

_TOKEN = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]+")


def content_disposition(kind: str, upload_name: str, extension: str, *, default: str) -> str:
    """Return the header's value: the upload's name with another extension; `default` is the stem without a name."""
    name = f"{safe_stem(upload_name) or default}.{extension}"
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    value = f"{kind}; filename={plain if _TOKEN.fullmatch(plain) else _quoted(plain)}"
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
