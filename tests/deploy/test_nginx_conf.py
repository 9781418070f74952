"""nginx.conf: valid for nginx, with the numbers and texts of the service."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from app.errors import error_codes
from app.http.security import SECURITY_HEADERS
from app.settings import Settings
from tests.support.header_bounds import MAX_HEADER_BYTES
from tests.support.servers import NginxServer, binary
from tests.support.service import free_port

ROOT = Path(__file__).parent.parent.parent
CONF = (ROOT / "nginx.conf").read_text(encoding="utf-8")
API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}
# Codes of the proxy only, documented in docs/api.md.
PROXY_CODES = {"BAD_GATEWAY": 502, "UNAVAILABLE": 503}


def value(directive: str) -> str:
    """Return the value of a directive that occurs once."""
    (found,) = re.findall(rf"^\s*{directive}\s+(.+?);", CONF, re.MULTILINE)
    return str(found)


def seconds(directive: str) -> int:
    return int(value(directive).removesuffix("s"))


def table(variable: str) -> dict[str, str]:
    """Return the lines of a map by $status, without its default."""
    lines = re.search(rf"map \$status \${variable} {{(.+?)}}", CONF, re.DOTALL)
    assert lines
    return dict(re.findall(r'(\d{3}) "?([^";]+)"?;', lines[1]))


def test_nginx_accepts_it(tmp_path: Path) -> None:
    server = NginxServer(tmp_path, free_port(), free_port(), (5001, 5002))
    server.prepare()
    done = subprocess.run([binary("nginx"), "-t", "-c", server.configuration], capture_output=True, text=True)
    assert done.returncode == 0 and "warn" not in done.stderr, done.stderr


def test_files_of_the_operator_are_included(tmp_path: Path) -> None:
    files = {
        "sizes.conf": "client_max_body_size 33554432; proxy_read_timeout 300s; lingering_time 300s;"
        "set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For;",
        "more.upstream": "server 10.0.0.7:5001 max_fails=0;",
        "shop.origins": '"https://shop.example" $http_origin;',
    }
    folder = tmp_path / "background-remover.d"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    own = {"/etc/nginx/background-remover.d": str(folder)}
    server = NginxServer(tmp_path, free_port(), free_port(), (5001, 5002), own)
    server.prepare()
    done = subprocess.run([binary("nginx"), "-T", "-c", server.configuration], capture_output=True, text=True)
    assert done.returncode == 0 and "warn" not in done.stderr, done.stderr
    assert [
        name for name, text in files.items() if f"# configuration file {folder / name}:\n{text}" not in done.stdout
    ] == []


def test_body_limit_is_that_of_the_service() -> None:
    sizes = re.findall(r"^\s*client_max_body_size (\d+);", CONF, re.MULTILINE)
    limits = [DEFAULTS["max_content_length"], DEFAULTS["jobs_max_bytes"]]
    assert list(map(int, sizes)) == [*limits, 0]  # 0: of nginx's own error pages


def test_nginx_waits_longer_than_the_services_timeout() -> None:
    assert seconds("proxy_read_timeout") > DEFAULTS["request_timeout"]
    assert seconds("proxy_send_timeout") > DEFAULTS["request_timeout"]
    assert seconds("lingering_time") >= DEFAULTS["request_timeout"]


def test_the_first_instance_has_the_default_port() -> None:
    ports = re.findall(r"server 127\.0\.0\.1:(\d+) max_fails=0;", CONF)
    assert len(ports) > 1 and int(ports[0]) == DEFAULTS["port"]


def test_the_address_is_replaced_and_not_appended_to() -> None:
    assert value("proxy_set_header X-Forwarded-For") == "$remote_addr"
    assert "$proxy_add_x_forwarded_for" not in CONF


def test_a_photo_is_never_sent_twice() -> None:
    assert value("proxy_next_upstream") == "error timeout"


def test_a_failed_answer_does_not_count_as_a_failed_instance() -> None:
    servers = re.findall(r"^\s+server [\d.:]+ (.*);", CONF, re.MULTILINE)
    assert servers and set(servers) == {"max_fails=0"}


def test_buffer_for_headers_is_larger_than_any_headers_of_the_service() -> None:
    assert int(value("proxy_buffer_size").removesuffix("k")) * 1024 >= 2 * MAX_HEADER_BYTES


def test_tls_is_not_older_than_1_2() -> None:
    assert value("ssl_protocols") == "TLSv1.2 TLSv1.3"


def test_errors_of_instances_pass_unchanged() -> None:
    assert "proxy_intercept_errors" not in CONF


@pytest.mark.parametrize(("status", "code"), table("error_code").items())
def test_every_code_is_one_of_the_api(status: str, code: str) -> None:
    statuses = {name: error.status for name, error in error_codes().items()} | PROXY_CODES
    assert statuses[code] == int(status)


@pytest.mark.parametrize(
    "code", ["FILE_TOO_LARGE", "FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED", "DEADLINE_EXCEEDED"]
)
def test_error_texts_are_those_of_the_service(code: str) -> None:
    error = error_codes()[code]
    assert table("error_title")[str(error.status)] == error.title


@pytest.mark.parametrize("variable", ["error_title", "error_message", "error_solution"])
def test_every_code_has_its_text(variable: str) -> None:
    assert table(variable).keys() == table("error_code").keys()


@pytest.mark.parametrize("code", PROXY_CODES)
def test_a_proxys_own_codes_are_documented(code: str) -> None:
    assert f"`{code}`" in API


def test_nginxs_own_errors_have_the_services_security_headers() -> None:
    sent = dict(re.findall(r'add_header ([\w-]+) "?([^";]+)"? always;', CONF))
    for name, text in (SECURITY_HEADERS | {"Cross-Origin-Resource-Policy": "same-origin"}).items():
        assert CONF.count(f"add_header {name} ") == 1
        assert sent.get(name, text.partition(";")[0]) == text.partition(";")[0]
