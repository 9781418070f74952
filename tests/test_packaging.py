"""Package data of `pip install .`: every file that the program reads."""

from __future__ import annotations

import tomllib

from tests.support.configuration import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Files for the linters of the web page's scripts.
NOT_INSTALLED = {"tsconfig.json"}


def test_every_data_file_is_package_data() -> None:
    (patterns,) = PROJECT["tool"]["setuptools"]["package-data"].values()
    files = [path for path in (ROOT / "app").rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}]
    missing = [path for path in files if not any(path.match(pattern) for pattern in patterns)]
    assert len(files) > 20 and {path.name for path in missing} == NOT_INSTALLED


def test_the_console_script_is_the_command_line() -> None:
    assert PROJECT["project"]["scripts"] == {"background-remover": "app.cli.main:main"}


def test_the_packages_of_celery_are_an_extra() -> None:
    dynamic = PROJECT["tool"]["setuptools"]["dynamic"]
    assert dynamic["optional-dependencies"] == {"jobs": {"file": "requirements-jobs.txt"}}


def test_gunicorn_finds_its_configuration() -> None:
    assert PROJECT["tool"]["setuptools"]["data-files"] == {"share/background-remover": ["gunicorn.conf.py"]}
