"""One call of the PyPI package: `call_pypi.py ENDPOINT KEY METHOD '["arguments"]' '{"more": "arguments"}'`."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

endpoint, key, method, arguments, more = sys.argv[1:]
removebg: Any = importlib.import_module("removebg.removebg")  # installed by the tests
removebg.API_ENDPOINT = endpoint
getattr(removebg.RemoveBg(key, "errors.log"), method)(*json.loads(arguments), **json.loads(more))
