"""What the documentation tells newcomers to run, as it stands there, on a server's own address."""

import json
import re
import subprocess
import sys

import pytest

from conftest import ROOT


def blocks(name, language):
    text = (ROOT / name).read_text()
    return [block for block in re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S) if "127.0.0.1:8080" in block]


def here(block, server):
    return block.replace("127.0.0.1:8080", server.address)


def output(command, server):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["docs/clients.md", "README.md"])
def test_shell(server, name):
    commands = [block for block in blocks(name, "sh") if block.startswith("curl")]
    assert commands
    for command in commands:
        predictions = json.loads(output(["sh", "-c", here(command, server)], server))["predictions"]
        assert predictions[0]["classes"][0]["label"] == "ship"


def test_the_response_in_the_readme(server):
    (command,) = [block for block in blocks("README.md", "sh") if block.startswith("curl")]
    (shown,) = re.findall(r"^```json\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    shown, real = json.loads(shown), json.loads(output(["sh", "-c", here(command, server)], server))
    assert [c["label"] for c in shown["predictions"][0]["classes"]] == [c["label"] for c in real["predictions"][0]["classes"]]
    for a, b in zip(shown["predictions"][0]["classes"], real["predictions"][0]["classes"]):
        assert a["probability"] == pytest.approx(b["probability"], abs=1e-3)


def test_python(server):
    printed = [output([sys.executable, "-c", here(block, server)], server) for block in blocks("docs/clients.md", "python")]
    assert len(printed) == 3
    assert printed[0].startswith("ship: 9") and len(printed[0].splitlines()) == 2
    assert printed[1].splitlines() == ["airplane.jpg: airplane", "ship.jpg: ship", "truck.jpg: truck"]
    assert printed[2].strip().isdigit()


def pages():
    return [path.relative_to(ROOT) for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]]


@pytest.mark.parametrize("page", pages(), ids=str)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
            assert anchor in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles], link
