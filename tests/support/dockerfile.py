"""Parser of the Dockerfile: stages of instructions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from tests.support.configuration import ROOT

__all__ = ["Stage", "dockerignore", "stages"]

DOCKERFILE = ROOT / "Dockerfile"


@dataclass
class Stage:
    """A stage: its base, its name and (instruction, rest of the line) in order."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [value for name, value in self.steps if name == instruction]

    def last(self, instruction: str) -> str:
        return self.all(instruction)[-1]

    def command(self, instruction: str) -> list[str]:
        """Return the words of CMD or HEALTHCHECK, which must be in exec form."""
        words = json.loads(self.last(instruction).partition("CMD ")[2] or self.last(instruction))
        assert isinstance(words, list)
        return words

    def pairs(self, instruction: str) -> dict[str, str]:
        """Return the names and values of all ENV, ARG or LABEL lines."""
        found = re.findall(r"([\w.]+)=(?:\"([^\"]*)\"|(\S*))", " ".join(self.all(instruction)))
        return {name: quoted or plain for name, quoted, plain in found}


def stages() -> tuple[dict[str, str], list[Stage]]:
    """Return the arguments before the first FROM, and the stages."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).strip().splitlines()
    arguments: dict[str, str] = {}
    found: list[Stage] = []
    for line in lines:
        instruction, _, value = line.partition(" ")
        if instruction == "FROM":
            base, _, name = value.partition(" AS ")
            found.append(Stage(base, name))
        elif found:
            found[-1].steps.append((instruction, value))
        else:
            name, _, default = value.partition("=")
            arguments[name] = default
    return arguments, found


def dockerignore() -> list[str]:
    """Return the patterns of .dockerignore."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
