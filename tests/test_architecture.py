"""Architecture: the order of the layers, no cycle between modules, and Flask under `app/http` alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From top to bottom; a module imports from its own layer and those below. The longest prefix of its name counts.
LAYERS = (
    ("app",),
    ("app.http",),
    ("app.cli",),
    ("app.jobs",),
    ("app.startup", "app.cache", "app.observability", "app.fetch", "app.server"),
    (
        "app.options",
        "app.capacity",
        "app.keys",
        "app.clients",
        "app.limits",
        "app.redis_link",
        "app.storage",
        "app.jail",
    ),
    ("app.settings",),
    ("app.engine",),
    ("app.imaging",),
    (
        "app.removal",
        "app.errors",
        "app.urls",
        "app.file_names",
        "app.log_format",
        "app.periodic",
        "app.healthcheck",
        "app.setting_problems",
    ),
)
LAYER_OF = {package: number for number, packages in enumerate(LAYERS) for package in packages}
FLASK = {"flask", "flask_cors", "flask_limiter", "werkzeug"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted((ROOT / "app").rglob("*.py"))}


@cache
def imports(module: str) -> frozenset[str]:
    """Return the modules that a module imports anywhere, also inside functions and for types alone."""
    return frozenset(found for node in ast.walk(ast.parse(MODULES[module].read_text())) for found in _imported(node))


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            yield submodule if submodule in MODULES else node.module


def layer(module: str) -> int:
    parents = (module.rsplit(".", cut)[0] for cut in range(module.count(".") + 1))
    return next(LAYER_OF[parent] for parent in parents if parent in LAYER_OF)


def test_every_package_has_a_layer() -> None:
    top = {".".join(name.split(".")[:2]) for name in MODULES} - {"app", "app.__main__"}
    assert top == set(LAYER_OF) - {"app"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    upward = {name for name in imports(module) if name in MODULES and layer(name) < layer(module)}
    assert upward == set()


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {module: {name for name in imports(module) if name in MODULES} - {module} for module in MODULES}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("app.http") and name != "app"])
def test_only_http_imports_flask(module: str) -> None:
    assert {name.partition(".")[0] for name in imports(module)} & FLASK == set()


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(("app.engine", "app.imaging"))])
def test_engine_and_imaging_name_no_dialect(module: str) -> None:
    text = MODULES[module].read_text().lower()
    assert [word for word in ("remove.bg", "removebg", "dialect", "rembg's server") if word in text] == []


@pytest.mark.parametrize("module", MODULES)
def test_the_service_imports_no_development_code(module: str) -> None:
    """Training, tools, benchmarks and tests are not part of an installation."""
    found = {name.partition(".")[0] for name in imports(module)}
    assert found & {"training", "torch", "onnx", "tools", "benchmarks", "tests"} == set()


TESTS = [path for path in sorted((ROOT / "tests").rglob("*.py")) if not path.is_relative_to(ROOT / "tests/fuzz")]


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_import_helpers_from_tests_support_only(path: Path) -> None:
    found = {name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for name in _imported(node)}
    helpers = {name for name in found if name.partition(".")[0] == "tests"}
    assert {name for name in helpers if not f"{name}.".startswith("tests.support.")} == set()
