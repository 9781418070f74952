"""Problems of settings: their description, errors of pydantic, and lines of a .env file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

__all__ = ["ENV_ENCODING", "SettingProblem", "SettingsError", "check_env_file", "problem_of"]

# UTF-8, with or without the byte order mark that some editors write.
ENV_ENCODING = "utf-8-sig"
# Settings whose values are never shown.
SECRETS = {"API_KEYS", "CACHE_URL", "REDIS_URL", "WEBHOOK_SECRET"}


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One invalid setting, its value without secrets, and the reason.

    `setting` is empty where several settings contradict each other.
    """

    setting: str
    value: str
    reason: str

    @classmethod
    def of(cls, setting: str, value: object, reason: str) -> SettingProblem:
        """Describe a problem without the value of a secret."""
        return cls(setting, "(secret)" if setting in SECRETS else repr(value), reason)

    def __str__(self) -> str:
        return f"{self.setting}={self.value}: {self.reason}" if self.setting else self.reason


class SettingsError(ValueError):
    """All invalid settings; the text names each of them."""

    def __init__(self, *problems: SettingProblem) -> None:
        super().__init__("\n  ".join(["Bad settings:", *map(str, problems)]))
        self.problems = problems


def check_env_file(file: Path) -> None:
    """Raise SettingsError for an unreadable file, and for lines that python-dotenv would skip silently."""
    try:
        text = file.read_text(encoding=ENV_ENCODING)
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise SettingsError(SettingProblem("", "", f"{file}: {reason}")) from None
    bad = [binding.original.line for binding in parse_stream(StringIO(text)) if binding.error or "\0" in text]
    if bad:
        raise SettingsError(*(SettingProblem("", "", f"{file}, line {line}: is not NAME=value") for line in bad))


def problem_of(details: Mapping[str, Any]) -> SettingProblem:
    """Convert an error of pydantic; without `loc` it is about the whole model, and its input holds all values."""
    reason = str(details["msg"]).removeprefix("Value error, ")
    if not details["loc"]:
        return SettingProblem("", "", reason)
    return SettingProblem.of(str(details["loc"][0]).upper(), details["input"], reason)
