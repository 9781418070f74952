"""Imports of each process, observed in a separate process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.configuration import ROOT
from tests.support.loaded_modules import HEAVY, PIXELS, modules_after

WEB = {"flask", "werkzeug", "gunicorn", "pydantic", "prometheus_client"}


def every_module(package: str) -> str:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted((ROOT / package).rglob("*.py"))]
    return "\n".join(f"import {name.removesuffix('.__init__')}" for name in names if not name.endswith("__main__"))


def test_the_web_process_imports_no_pixels() -> None:
    assert modules_after("import app; app.create_app()") & (PIXELS | HEAVY) == set()


def test_the_package_imports_no_web_framework_until_the_application_is_read() -> None:
    assert modules_after("import app; dir(app); hasattr(app, 'application')") & WEB == set()
    assert "flask" in modules_after("from app import app; import app as package; assert package.app is app")


def test_the_http_package_imports_no_pixels() -> None:
    assert modules_after(every_module("app/http")) & (PIXELS | HEAVY) == set()


def test_an_engine_imports_no_web_framework() -> None:
    assert modules_after("import app.engine.worker") & (WEB | HEAVY) == set()


def test_an_engine_and_the_command_line_leave_metrics_to_the_web_process() -> None:
    code = f"{every_module('app/engine')}\n{every_module('app/cli')}"
    assert "prometheus_client" not in modules_after(code)


def test_the_command_remove_leaves_pixels_to_its_engines() -> None:
    assert modules_after(every_module("app/cli/remove")) & (PIXELS | HEAVY | {"flask", "werkzeug"}) == set()


def test_an_engine_at_work_imports_nothing_heavy() -> None:
    code = (
        "import io\nfrom PIL import Image\nfrom app.engine.messages import *\nfrom app.removal import *\n"
        "from app.engine.pipeline import Pipeline\n"
        "from app.engine.session import SessionCache\n"
        "data = io.BytesIO(); Image.effect_noise((300, 200), 50).save(data, 'PNG')\n"
        "pipeline = Pipeline(EngineConfig('lite', 1, 10**7, 10**7), SessionCache(1))\n"
        "for refine in ('edges', 'matting'):\n"
        "    pipeline.run(RemovalRequest(data.getvalue(), RemovalOptions('lite', 2048, refine=refine)))"
    )
    assert modules_after(code) & (WEB | HEAVY) == set()


def test_the_imaging_package_imports_no_web_framework_and_no_model_runtime() -> None:
    assert modules_after(every_module("app/imaging")) & (WEB | HEAVY | {"onnxruntime"}) == set()


def test_the_fetch_package_imports_no_web_framework_and_no_pixels() -> None:
    assert modules_after(every_module("app/fetch")) & (PIXELS | HEAVY | {"flask", "werkzeug", "requests"}) == set()


def test_importing_the_package_loads_nothing() -> None:
    assert modules_after("import app") & (PIXELS | HEAVY | WEB) == set()


def test_lean_rembg_brings_nothing_heavy() -> None:
    code = (
        "from app.engine.models import REGISTRY\nfrom app.engine.rembg_entry import session_class\n"
        "[session_class(model) for model in REGISTRY.values() if not model.embedded]"
    )
    modules = modules_after(code)
    assert "rembg" in modules
    assert modules & (HEAVY | {"jsonschema"}) == set()


@pytest.mark.parametrize("path", sorted((ROOT / "app").rglob("*.py")), ids=lambda path: path.name)
def test_a_module_has_a_maximum_length(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
