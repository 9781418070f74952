"""Examples of an operation's use with curl, Python and JavaScript."""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.http.openapi.operations import Operation, Schema

__all__ = ["code_samples"]

KEY_HEADER = '"X-Api-Key": "YOUR_KEY"'


def code_samples(operation: Operation, server: str, needs_key: bool) -> list[Schema]:
    """Return the extension `x-codeSamples` for an operation of the server at an address; empty if it only fails."""
    if min(operation.answers) >= 300:
        return []
    call = _call(operation, server, needs_key)
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
    """Request of an example; `photo` is the form field of the files `photos`, empty without any.

    `answer` is how the answer is read: `json`, `text`, `events` or `blob`, empty without content; a blob is stored as
    `output`.
    """

    method: str
    url: str
    key: bool
    photo: str
    photos: tuple[str, ...]
    body: str
    answer: str
    output: str


def _call(operation: Operation, server: str, needs_key: bool) -> _Call:
    sample, content = operation.sample, operation.answers[min(operation.answers)].content
    query = f"?{sample.query}" if sample.query else ""
    kind = next(iter(content), "")
    known = {"": "", "application/json": "json", "text/event-stream": "events"}
    names = ("photo.jpg", "another.jpg") if sample.several else ("photo.jpg",)
    return _Call(
        method=operation.method,
        url=f"{server}{operation.path.format_map(_SampleValues())}{query}",
        key=needs_key and not operation.open,
        photo=sample.photo,
        photos=names if sample.photo else (),
        body=json.dumps(dict(sample.json)) if sample.json else "",
        answer=known.get(kind, "text" if kind.startswith("text/") else "blob"),
        output="out.zip" if list(content) == ["application/zip"] else "out.png",
    )


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
    if len(call.photos) == 1:
        return f'{{"{call.photo}": open("photo.jpg", "rb")}}'
    return f'[("{call.photo}", open(name, "rb")) for name in {json.dumps(call.photos)}]'


def _javascript(call: _Call) -> str:
    lines = ["const body = new FormData();"] if call.photo else []
    if len(call.photos) > 1:
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
