"""The unit is read by systemd's own tool."""

import subprocess
import sys

from conftest import ROOT

UNIT = ROOT / "deploy/systemd/repserve.service"


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def test_the_unit_is_well_formed(tmp_path):
    unit = tmp_path / "repserve.service"
    assert "ExecStart=/usr/bin/repserve serve " in UNIT.read_text()
    # A program that is here.
    unit.write_text(UNIT.read_text().replace("/usr/bin/repserve", sys.executable))
    checked = analyze("verify", "--man=no", unit)
    said = checked.stdout + checked.stderr
    assert not [line for line in said.splitlines() if "repserve" in line], said

    unit.write_text(unit.read_text().replace("WatchdogSec=30", "WatchdogSec=often"))
    assert "often" in analyze("verify", "--man=no", unit).stderr


def test_the_unit_gives_little_away():
    checked = analyze("security", "--offline=true", "--threshold=20", UNIT)
    assert checked.returncode == 0, checked.stdout
