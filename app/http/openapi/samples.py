"""Examples of an operation's use with curl, Python and JavaScript."""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.http.openapi.operations import Answer, Operation, Schema

__all__ = ["code_samples"]

KEY_HEADER = '"X-Api-Key": "YOUR_KEY"'


def code_samples(operation: Operation, server: str, needs_key: bool) -> list[Schema]:
    """Return the extension `x-codeSamples` for an operation of the server at an address; empty if it only fails."""
    if min(operation.answers) >= 300:
        return []
    call = _Call(operation, server, needs_key and not operation.open)
    sources = {"curl": _curl(call), "Python": _python(call), "JavaScript": _javascript(call)}
    return [
        {"lang": "Shell" if label == "curl" else label, "label": label, "source": source}
        for label, source in sources.items()
    ]


class _SampleValues(dict[str, str]):
    """Parameters of paths in samples."""

    def __missing__(self, name: str) -> str:
        return "1" if name == "number" else name.upper()


@dataclass(frozen=True, slots=True)
class _Call:
    operation: Operation
    server: str
    key: bool

    @property
    def url(self) -> str:
        query = f"?{self.operation.sample.query}" if self.operation.sample.query else ""
        path = self.operation.path.format_map(_SampleValues())
        return f"{self.server}{path}{query}"

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
    def photos(self) -> tuple[str, ...]:
        """Return the names of the files to send."""
        names = ("photo.jpg", "another.jpg") if self.operation.sample.several else ("photo.jpg",)
        return names if self.photo else ()

    @property
    def answer(self) -> str:
        """Return what the answer is read as: `json`, `text`, `events` or `blob`; empty without content."""
        kind = next(iter(self._success.content), "")
        known = {"": "", "application/json": "json", "text/event-stream": "events"}
        return known.get(kind, "text" if kind.startswith("text/") else "blob")

    @property
    def output(self) -> str:
        """Name of the file for an answer that is a blob."""
        return "out.zip" if list(self._success.content) == ["application/zip"] else "out.png"

    @property
    def _success(self) -> Answer:
        return self.operation.answers[min(self.operation.answers)]


def _curl(call: _Call) -> str:
    words = ["curl --fail-with-body"]
    if call.key:
        words.append('-H "X-Api-Key: YOUR_KEY"')
    if call.photo:
        words += [f"-F {call.photo}=@{name}" for name in call.photos]
    elif call.body:
        words.append(f"-H 'Content-Type: application/json' -d '{call.body}'")
    elif call.method != "get":
        words.append(f"-X {call.method.upper()}")
    if call.answer == "events":
        words.append("-N")
    words.append(f"'{call.url}'")
    return " ".join(words + ([f"-o {call.output}"] if call.answer == "blob" else []))


def _python(call: _Call) -> str:
    given = [f'"{call.url}"']
    if call.key:
        given.append(f"headers={{{KEY_HEADER}}}")
    if call.photo:
        given.append(f"files={_files(call)}")
    elif call.body:
        given.append(f"json={call.body}")
    if call.answer == "events":
        given.append("stream=True")
    lines = ["import requests", "", f"response = requests.{call.method}(", *(f"    {each}," for each in given), ")"]
    reading = {
        "": [],
        "blob": [f'with open("{call.output}", "wb") as file:', "    file.write(response.content)"],
        "events": ["for line in response.iter_lines():", "    print(line.decode())"],
        "json": ["print(response.json())"],
        "text": ["print(response.text)"],
    }
    return "\n".join([*lines, "response.raise_for_status()", *reading[call.answer]])


def _files(call: _Call) -> str:
    if not call.operation.sample.several:
        return f'{{"{call.photo}": open("photo.jpg", "rb")}}'
    return f'[("{call.photo}", open(name, "rb")) for name in {json.dumps(call.photos)}]'


def _javascript(call: _Call) -> str:
    lines = ["const body = new FormData();"] if call.photo else []
    if call.operation.sample.several:
        lines.append(
            f'for (const file of files) body.append("{call.photo}", file); // from <input type="file" multiple>'
        )
    elif call.photo:
        lines.append(f'body.append("{call.photo}", file); // from <input type="file">')
    lines.append(f'const response = await fetch("{call.url}"{_options(call)});')
    lines.append("if (!response.ok) throw new Error(await response.text());")
    if call.answer == "events":
        lines.append("for await (const text of response.body.pipeThrough(new TextDecoderStream())) console.log(text);")
    elif call.answer:
        lines.append(f"const result = await response.{call.answer}();")
    return "\n".join(lines)


def _options(call: _Call) -> str:
    headers = [KEY_HEADER] if call.key else []
    if call.body and not call.photo:
        headers.append('"Content-Type": "application/json"')
    options = [] if call.method == "get" else [f'method: "{call.method.upper()}"']
    if headers:
        options.append(f"headers: {{ {', '.join(headers)} }}")
    if call.photo:
        options.append("body")
    elif call.body:
        options.append(f"body: JSON.stringify({call.body})")
    return f", {{ {', '.join(options)} }}" if options else ""
