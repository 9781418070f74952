"""The logrotate configuration in a real logrotate."""

from __future__ import annotations

import getpass
import grp
import os
import subprocess
from pathlib import Path

from tests.support.servers import binary

ROOT = Path(__file__).parent.parent.parent


def test_a_log_is_moved_and_compressed_one_rotation_later(tmp_path: Path) -> None:
    owner = f"{getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}"
    text = (ROOT / "deploy/logrotate/background-remover").read_text(encoding="utf-8")
    conf = tmp_path / "conf"
    conf.write_text(
        text.replace("/var/log/background-remover", str(tmp_path)).replace(
            "background-remover background-remover", owner
        )
    )
    conf.chmod(0o644)
    tmp_path.chmod(0o750)
    for _ in range(2):
        (tmp_path / "service.log").write_text("a line\n")
        done = subprocess.run(
            [binary("logrotate"), "--force", "--state", tmp_path / "state", conf], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("service*")} == {"service.log", "service.log.1", "service.log.2.gz"}
    assert (tmp_path / "service.log").stat().st_mode & 0o777 == 0o640
