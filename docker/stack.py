"""Makes a stack file out of a resolved compose file: stdin to stdout."""

import sys

try:
    import yaml
except ImportError:
    sys.exit("stack.py: PyYAML is missing (Debian: apt-get install python3-yaml)")

# A stack gets its image from a registry, restarts by its deploy section and has its own way of naming.
NOT_IN_A_STACK = ["build", "container_name", "depends_on", "restart", "security_opt", "profiles"]


def port(entry):
    """Published in the long form; a stack publishes on every node, so an address has no meaning."""
    if isinstance(entry, str):
        published, target = entry.rsplit(":", 1)
        entry = {"published": published.rsplit(":", 1)[-1], "target": target.split("/")[0]}
    return {
        "target": int(entry["target"]),
        "published": int(entry["published"]),
        "protocol": "tcp",
        "mode": "host",
    }


def stack(document):
    for service in document["services"].values():
        for key in NOT_IN_A_STACK:
            service.pop(key, None)
        # A stack leaves out the short form.
        for target in service.pop("tmpfs", []):
            service.setdefault("volumes", []).append({"type": "tmpfs", "target": target})
        if service.get("ports"):
            service["ports"] = [port(entry) for entry in service["ports"]]
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        if "cpus" in limits:
            limits["cpus"] = str(limits["cpus"])
        if "memory" in limits:
            limits["memory"] = str(limits["memory"])
    document.pop("name", None)
    for network in (document.get("networks") or {}).values():
        if network:
            network.pop("name", None)
    for volume in (document.get("volumes") or {}).values():
        if volume:
            volume.pop("name", None)
    return {**document, "version": "3.8"}


yaml.safe_dump(stack(yaml.safe_load(sys.stdin)), sys.stdout)
