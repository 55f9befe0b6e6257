"""Checks every dependency from cargo's own metadata and without network: its licence and source against deny.toml, and that
it builds with the oldest Rust that the workspace promises (`rust-version`).

Where cargo-deny is installed and has a database of advisories, `make dependencies` runs it as well.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

root = pathlib.Path(__file__).resolve().parent.parent
allowed = set(tomllib.loads((root / "deny.toml").read_text())["licenses"]["allow"])
metadata = json.loads(
    subprocess.run(
        ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"],
        cwd=root, check=True, stdout=subprocess.PIPE,
    ).stdout
)


def permits(expression: str) -> bool:
    """Evaluates an SPDX expression: OR needs one allowed side, AND both. An old style `A/B` reads as `A OR B`."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either() -> bool:
        result = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            result = both() or result
        return result

    def both() -> bool:
        result = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            result = one() and result
        return result

    def one() -> bool:
        token = tokens.pop(0)
        if token == "(":
            result = either()
            tokens.pop(0)
            return result
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            exception = tokens.pop(0)
            return f"{token} WITH {exception}" in allowed or token in allowed
        return token in allowed

    return either()


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


faults = []
own = [p for p in metadata["packages"] if p["source"] is None]
promised = min(version(p["rust_version"]) for p in own)
for package in metadata["packages"]:
    if package["source"] is None:
        continue
    name = f"{package['name']} {package['version']}"
    if not package["source"].startswith("registry+"):
        faults.append(f"{name}: comes from {package['source']}, not from a registry")
    licence = package["license"]
    if not licence or not permits(licence):
        faults.append(f"{name}: licence {licence or 'not stated'} is not in deny.toml")
    if version(package["rust_version"] or "1.0") > promised:
        faults.append(f"{name}: needs Rust {package['rust_version']}; Cargo.toml promises {'.'.join(map(str, promised))}")

print(f"{len(metadata['packages']) - len(own)} dependencies checked: licence, source, Rust {'.'.join(map(str, promised))}")
for fault in faults:
    print(f"error: {fault}", file=sys.stderr)
sys.exit(1 if faults else 0)
