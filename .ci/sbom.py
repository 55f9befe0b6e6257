"""Prints a software bill of materials (CycloneDX 1.5, JSON) of the release binary: every crate that it is built from, with its licence
and the checksum of its archive, which needs which, and ONNX Runtime, which is loaded at start.

    python3 .ci/sbom.py [FEATURES]

Everything comes from cargo's metadata, Cargo.lock and docker/fetch-onnxruntime.sh, so the same sources give the same text.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOT_PACKAGE = "repserve"


def metadata(features: str) -> dict:
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target()]
    if features:
        command += ["--features", features]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def target() -> str:
    about = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.search(r"^host: (\S+)$", about, re.MULTILINE)[1]


def needed(nodes: dict) -> dict[str, list[str]]:
    """What each package that the binary is built from needs, dependencies of tests left out."""
    root = next(id for id in nodes if re.search(rf"[/#]{ROOT_PACKAGE}[@#]", id) or id.endswith(f"/{ROOT_PACKAGE}"))
    found, waiting = {}, [root]
    while waiting:
        package = waiting.pop()
        if package in found:
            continue
        kinds = [(dep["pkg"], {kind["kind"] for kind in dep["dep_kinds"]}) for dep in nodes[package]["deps"]]
        found[package] = sorted(name for name, of in kinds if of != {"dev"})
        waiting += found[package]
    return found


def onnxruntime() -> dict:
    """The library that docker/fetch-onnxruntime.sh pins for x86-64."""
    script = (ROOT / "docker/fetch-onnxruntime.sh").read_text()
    version = re.search(r"^version=(\S+)$", script, re.MULTILINE)[1]
    checksum = re.search(r"library_sha256=([0-9a-f]{64})", script)[1]
    return {
        "type": "library", "bom-ref": f"pkg:pypi/onnxruntime@{version}", "name": "onnxruntime", "version": version,
        "purl": f"pkg:pypi/onnxruntime@{version}", "licenses": [{"license": {"id": "MIT"}}],
        "hashes": [{"alg": "SHA-256", "content": checksum}],
    }


def component(package: dict, checksums: dict) -> dict:
    name, version = package["name"], package["version"]
    found = {"type": "library", "bom-ref": reference(package), "name": name, "version": version, "purl": reference(package)}
    if package["license"]:
        # The old style `A/B` means `A OR B`.
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((name, version)):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def reference(package: dict) -> str:
    return f"pkg:cargo/{package['name']}@{package['version']}"


def bill(features: str) -> dict:
    known = metadata(features)
    packages = {package["id"]: package for package in known["packages"]}
    needs = needed({node["id"]: node for node in known["resolve"]["nodes"]})
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in locked}
    components = sorted((component(packages[id], checksums) for id in needs), key=lambda part: part["bom-ref"])
    (root,) = [part for part in components if part["name"] == ROOT_PACKAGE]
    components.remove(root)
    library = onnxruntime()
    links = [
        {"ref": reference(packages[id]), "dependsOn": sorted(reference(packages[other]) for other in others)}
        for id, others in needs.items()
    ]
    next(link for link in links if link["ref"] == root["bom-ref"])["dependsOn"].append(library["bom-ref"])
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {**root, "type": "application"}},
        "components": [*components, library],
        "dependencies": sorted(links, key=lambda link: link["ref"]) + [{"ref": library["bom-ref"], "dependsOn": []}],
    }


print(json.dumps(bill(sys.argv[1] if len(sys.argv) > 1 else ""), indent=1))
