"""Examples of an operation's use with curl, Python and JavaScript."""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.http.openapi.operations import Operation, Schema

__all__ = ["code_samples"]

KEY_HEADER = '"X-Api-Key": "YOUR_KEY"'


def code_samples(operation: Operation, server: str, needs_key: bool) -> list[Schema]:
    """Return the extension `x-codeSamples` for an operation of the server at an address; empty if it only fails."""
    if 200 not in operation.answers:
        return []
    call = _Call(operation, server, needs_key and not operation.open)
    sources = {"curl": _curl(call), "Python": _python(call), "JavaScript": _javascript(call)}
    return [
        {"lang": "Shell" if label == "curl" else label, "label": label, "source": source}
        for label, source in sources.items()
    ]


@dataclass(frozen=True, slots=True)
class _Call:
    operation: Operation
    server: str
    key: bool

    @property
    def url(self) -> str:
        query = f"?{self.operation.sample.query}" if self.operation.sample.query else ""
        return f"{self.server}{self.operation.path}{query}"

    @property
    def method(self) -> str:
        return self.operation.method

    @property
    def body(self) -> str:
        return json.dumps(dict(self.operation.sample.json)) if self.operation.sample.json else ""

    @property
    def photo(self) -> str:
        """Name of the form field with the photo."""
        return self.operation.sample.photo

    @property
    def answer(self) -> str:
        """Return what the answer is read as: `json`, `text` or `blob`."""
        kind = next(iter(self.operation.answers[200].content))
        return "json" if kind == "application/json" else "text" if kind.startswith("text/") else "blob"


def _curl(call: _Call) -> str:
    words = ["curl --fail-with-body"]
    if call.key:
        words.append('-H "X-Api-Key: YOUR_KEY"')
    if call.photo:
        words.append(f"-F {call.photo}=@photo.jpg")
    elif call.body:
        words.append(f"-H 'Content-Type: application/json' -d '{call.body}'")
    elif call.method == "post":
        words.append("-X POST")
    words.append(f"'{call.url}'")
    return " ".join(words + (["-o out.png"] if call.answer == "blob" else []))


def _python(call: _Call) -> str:
    given = [f'"{call.url}"']
    if call.key:
        given.append(f"headers={{{KEY_HEADER}}}")
    if call.photo:
        given.append(f'files={{"{call.photo}": open("photo.jpg", "rb")}}')
    elif call.body:
        given.append(f"json={call.body}")
    lines = ["import requests", "", f"response = requests.{call.method}(", *(f"    {each}," for each in given), ")"]
    lines.append("response.raise_for_status()")
    if call.answer == "blob":
        return "\n".join([*lines, 'with open("out.png", "wb") as file:', "    file.write(response.content)"])
    return "\n".join([*lines, f"print(response.{'text' if call.answer == 'text' else 'json()'})"])


def _javascript(call: _Call) -> str:
    lines = []
    if call.photo:
        lines += ["const body = new FormData();", f'body.append("{call.photo}", file); // from <input type="file">']
    lines.append(f'const response = await fetch("{call.url}"{_options(call)});')
    lines.append("if (!response.ok) throw new Error(await response.text());")
    return "\n".join([*lines, f"const result = await response.{call.answer}();"])


def _options(call: _Call) -> str:
    headers = [KEY_HEADER] if call.key else []
    if call.body:
        headers.append('"Content-Type": "application/json"')
    options = ['method: "POST"'] if call.method == "post" else []
    if headers:
        options.append(f"headers: {{ {', '.join(headers)} }}")
    if call.photo:
        options.append("body")
    elif call.body:
        options.append(f"body: JSON.stringify({call.body})")
    return f", {{ {', '.join(options)} }}" if options else ""
