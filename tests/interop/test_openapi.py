"""openapi.json against the server that it describes: schemathesis with all of its checks."""

import os
import pathlib
import subprocess

import openapi_spec_validator
import requests

from conftest import ROOT

KEY = "interop-0123456789abcdef"


def test_the_document_is_valid(server):
    document = requests.get(f"{server.url}/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    openapi_spec_validator.validate(document)


def test_every_path_is_there(server):
    document = requests.get(f"{server.url}/openapi.json").json()
    for path, methods in document["paths"].items():
        for method in methods:
            filled = path.replace("{model}", "repvgg-cifar10").replace("{version}", "1")
            reply = requests.request(method, server.url + filled)
            assert reply.status_code not in (404, 405), (method, path)


def test_schemathesis_finds_nothing(start, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    server = start(**{"security.api_keys_file": keys}).ready()
    command = [
        "schemathesis",
        f"--config-file={pathlib.Path(__file__).parent / 'schemathesis.toml'}",
        "run",
        f"{server.url}/openapi.json",
        f"--header=x-api-key: {KEY}",
        "--checks=all",
        "--seed=1",
        "--workers=2",
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(pathlib.Path(__file__).parent)}
    ran = subprocess.run(command, cwd=tmp_path, env={**os.environ, **hooks}, capture_output=True, text=True)
    print(ran.stdout[-20000:], ran.stderr[-5000:])
    assert ran.returncode == 0
    assert "Traceback" not in server.text() and '"level":"ERROR"' not in server.text()
