"""A real Prometheus scrapes the real server; its rules load, and every panel of the dashboard has data."""

import json
import re
import shutil
import socket
import subprocess
import time

import pytest
import requests
import yaml

from conftest import MODEL, ROOT, encoded

RULES = ROOT / "docker/prometheus"
DASHBOARD = json.loads((ROOT / "docker/grafana/dashboards/repserve.json").read_text())


def promtool(*arguments, given=None):
    return subprocess.run(["promtool", *map(str, arguments)], input=given, capture_output=True, text=True)


def test_metrics_are_well_formed(server):
    text = requests.get(f"{server.url}/metrics").text
    checked = promtool("check", "metrics", given=text)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert not (checked.stdout + checked.stderr).strip(), checked.stdout + checked.stderr


def test_rules_and_alerts(tmp_path):
    for file in ("rules.yml", "alerts.yml"):
        checked = promtool("check", "rules", RULES / file)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", RULES / "alerts.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    for file in RULES.iterdir():
        shutil.copy(file, tmp_path)
    config = (tmp_path / "prometheus.yml").read_text().replace("/etc/prometheus", str(tmp_path))
    (tmp_path / "prometheus.yml").write_text(config)
    checked = promtool("check", "config", tmp_path / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_has_a_test_and_a_panel():
    alerts = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"][0]["rules"]
    tested = (RULES / "alerts.test.yml").read_text()
    panels = {panel["id"] for panel in DASHBOARD["panels"]}
    for alert in alerts:
        assert f"alertname: {alert['alert']}" in tested
        assert int(re.search(r"viewPanel=(\d+)", alert["annotations"]["dashboard"])[1]) in panels
        page, heading = alert["annotations"]["runbook"].split("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.M)
        assert heading in [h.lower().replace(" ", "-") for h in headings], alert["alert"]


def test_the_dashboard_fits_grafanas_schema():
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    dashboard = Dashboard.from_json(DASHBOARD)
    assert len(dashboard.panels) == len(DASHBOARD["panels"])
    again = json.loads(json.dumps(dashboard, default=lambda o: o.to_json()))
    for before, after in zip(DASHBOARD["panels"], again["panels"]):
        assert after["title"] == before["title"] and after["gridPos"] == before["gridPos"]
        for target, kept in zip(before.get("targets", []), after.get("targets", [])):
            assert kept["expr"] == target["expr"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def prometheus(server, tmp_path):
    """A Prometheus with the project's rules that scrapes the server every second."""
    config = yaml.safe_load((RULES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = []
    for file in ("rules.yml", "alerts.yml"):
        rules = (RULES / file).read_text().replace("interval: 15s", "interval: 1s")
        (tmp_path / file).write_text(rules)
        config["rule_files"].append(str(tmp_path / file))
    job = next(job for job in config["scrape_configs"] if job["job_name"] == "repserve")
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [server.address]}]
    config["scrape_configs"] = [job]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={address}",
        ],
        stderr=open(tmp_path / "prometheus.log", "wb"),
    )
    yield f"http://{address}"
    process.terminate()
    process.wait(timeout=30)


def ask(prometheus, query):
    reply = requests.get(f"{prometheus}/api/v1/query", {"query": query}, timeout=10)
    body = reply.json()
    assert body["status"] == "success", (query, body)
    result = body["data"]["result"]
    return result if isinstance(result, list) else [result]


def variables(query):
    for name, value in {"$job": "repserve", "$instance": ".*", "$model": ".*", "$__rate_interval": "15s"}.items():
        query = query.replace(name, value)
    return query


def traffic(server):
    """A bit of everything that the dashboard shows."""
    octets = {"content-type": "application/octet-stream"}
    for seed in range(4):
        requests.post(f"{server.url}/classify", encoded(seed), headers=octets)
    requests.post(f"{server.url}/classify", b"no image", headers=octets)
    requests.post(f"{server.url}/v2/models/{MODEL}/infer", b"{}")
    requests.get(f"{server.url}/readyz")


def test_every_panel_has_data(prometheus, server):
    queries = {
        (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])
    }
    assert len(queries) > 25
    empty, limit = queries, time.monotonic() + 90
    while empty and time.monotonic() < limit:
        traffic(server)
        time.sleep(1)
        try:
            empty = {(title, query) for title, query in empty if not has_data(prometheus, query)}
        except requests.ConnectionError:
            continue
    assert not empty
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()
            assert ask(prometheus, f"count by ({label}) ({variables(metric)})")


def has_data(prometheus, query):
    found = ask(prometheus, variables(query))
    return any(sample["value"][1] != "NaN" for sample in found)


def test_what_the_page_and_prometheus_call_a_prediction_is_the_same(server):
    traffic(server)
    text = requests.get(f"{server.url}/metrics").text
    routes = set(re.findall(r'repserve_http_requests_total\{[^}]*route="([^"]+)"', text))
    predictions = {route for route in routes if re.fullmatch(r"/classify|/v2/.*infer", route)}
    assert predictions == {route for route in routes if route == "/classify" or route.endswith("/infer")}
