"""Kubernetes manifests: each overlay is built and every object checked against its schema."""

import subprocess
import tomllib

import kserve
import kubernetes_validate
import pytest
import yaml

from conftest import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = sorted(path.parent for path in KUBERNETES.glob("overlays/*/kustomization.yaml"))
VERSION = "1.32"


def built(overlay):
    made = subprocess.run(["kubectl", "kustomize", overlay], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return list(yaml.safe_load_all(made.stdout))


def known(kind):
    """Fields of the custom resources used here, as their definitions have them; KServe's come from its own SDK."""
    return {
        "ServiceMonitor": {"jobLabel", "selector", "endpoints", "namespaceSelector"},
        "PrometheusRule": {"groups"},
    }[kind]


def check_kserve(model, value):
    """Every key is one that the SDK's model has, down to the last."""
    for key, inner in value.items():
        names = {json: attribute for attribute, json in model.attribute_map.items()}
        assert key in names, f"{model.__name__} has no {key}"
        kind = model.openapi_types[names[key]]
        kind = kind.removeprefix("list[").removesuffix("]")
        nested = getattr(kserve, kind, None)
        if nested is not None and hasattr(nested, "attribute_map"):
            for one in inner if isinstance(inner, list) else [inner]:
                check_kserve(nested, one)


def check(manifest):
    kind = manifest["kind"]
    if manifest["apiVersion"].startswith("serving.kserve.io/"):
        model = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}[kind]
        check_kserve(getattr(kserve, model), manifest)
    elif manifest["apiVersion"] == "monitoring.coreos.com/v1":
        assert manifest["metadata"]["name"] and set(manifest["spec"]) <= known(kind)
    else:
        kubernetes_validate.validate(manifest, VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_overlays_build_and_fit_their_schemas(overlay):
    manifests = built(overlay)
    assert len(manifests) > 2
    for manifest in manifests:
        check(manifest)


def test_every_file_fits_its_schema():
    files = [f for f in KUBERNETES.rglob("*.yaml") if f.name != "kustomization.yaml"]
    assert len(files) > 8
    for file in files:
        for manifest in yaml.safe_load_all(file.read_text()):
            check(manifest)


def test_pods_are_spread_by_one_constraint_a_key():
    for overlay in OVERLAYS:
        for manifest in built(overlay):
            if manifest["kind"] == "Deployment":
                constraints = manifest["spec"]["template"]["spec"]["topologySpreadConstraints"]
                keys = [constraint["topologyKey"] for constraint in constraints]
                assert len(keys) == len(set(keys)) == 2, keys


def test_an_image_that_was_loaded_into_the_cluster_is_not_pulled():
    for overlay in OVERLAYS:
        for manifest in built(overlay):
            if manifest["kind"] == "Deployment":
                (container,) = manifest["spec"]["template"]["spec"]["containers"]
                tag = container["image"].rpartition(":")[2]
                assert tag not in ("latest", container["image"]), container["image"]


def test_images_are_tagged_with_the_version_of_this_checkout():
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    tags = set()
    for overlay in OVERLAYS:
        for manifest in built(overlay):
            if manifest["kind"] in ("Deployment", "ServingRuntime"):
                spec = manifest["spec"]
                containers = spec["template"]["spec"]["containers"] if "template" in spec else spec["containers"]
                tags |= {container["image"].rpartition(":")[2] for container in containers}
    assert tags == {version}
    assert f"docker build --tag repserve:{version} ." in (ROOT / "docs/scaling.md").read_text()
    assert f"kind load docker-image repserve:{version}" in (ROOT / "docs/scaling.md").read_text()


def test_keda_scales_the_deployment_as_the_autoscaler_does():
    (overlay,) = [overlay for overlay in OVERLAYS if overlay.name == "production"]
    manifests = {manifest["kind"]: manifest for manifest in built(overlay)}
    keda = yaml.safe_load((ROOT / "deploy/keda/scaledobject.yaml").read_text())
    target, deployment = keda["spec"]["scaleTargetRef"], manifests["Deployment"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    (backlog,) = [m["pods"] for m in manifests["HorizontalPodAutoscaler"]["spec"]["metrics"] if m["type"] == "Pods"]
    (trigger,) = keda["spec"]["triggers"]
    assert trigger["type"] == "prometheus" and trigger["metricType"] == backlog["target"]["type"]
    assert backlog["metric"]["name"] in trigger["metadata"]["query"]
    assert backlog["target"]["averageValue"] == f"{float(trigger['metadata']['threshold']) * 1000:.0f}m"


def test_pods_are_locked_down_and_drain():
    for overlay in OVERLAYS:
        for manifest in built(overlay):
            if manifest["kind"] != "Deployment":
                continue
            pod = manifest["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
            assert pod["terminationGracePeriodSeconds"] > 38
            (container,) = pod["containers"]
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] and own["capabilities"] == {"drop": ["ALL"]}
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)


def probed(container):
    """The ports that a container's probes ask."""
    probes = [probe for key, probe in container.items() if key.endswith("Probe")]
    assert len(probes) >= 2
    names = {port.get("name"): port["containerPort"] for port in container["ports"]}
    return {names.get(probe["httpGet"]["port"], probe["httpGet"]["port"]) for probe in probes}


def test_probes_and_metrics_are_asked_at_the_second_listener():
    """What holds up requests on the first port must not look like a server that is gone."""
    for overlay in OVERLAYS:
        manifests = built(overlay)
        for manifest in manifests:
            if manifest["kind"] == "Deployment":
                (config,) = [m for m in manifests if m["kind"] == "ConfigMap"]
                server = tomllib.loads(config["data"]["repserve.toml"])["server"]
                template = manifest["spec"]["template"]
                (container,) = template["spec"]["containers"]
                scraped = template["metadata"]["annotations"]["prometheus.io/port"]
            elif manifest["kind"] == "ServingRuntime":
                (container,) = manifest["spec"]["containers"]
                environment = {variable["name"]: variable["value"] for variable in container["env"]}
                server = {"admin_listen": environment["REPSERVE__SERVER__ADMIN_LISTEN"]}
                scraped = manifest["spec"]["annotations"]["prometheus.kserve.io/port"]
            elif manifest["kind"] == "ServiceMonitor":
                assert [endpoint["port"] for endpoint in manifest["spec"]["endpoints"]] == ["admin"]
                continue
            else:
                continue
            port = server["admin_listen"].rsplit(":", 1)[1]
            assert probed(container) == {int(port)} and scraped == port


def test_compose_files_use_the_second_listener():
    replica = yaml.safe_load((ROOT / "docker/repserve.yaml").read_text())["services"]["repserve"]
    admin = replica["environment"]["REPSERVE__SERVER__ADMIN_LISTEN"]
    prometheus = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    (job,) = [job for job in prometheus["scrape_configs"] if job["job_name"] == "repserve"]
    assert admin == f"0.0.0.0:{job['dns_sd_configs'][0]['port']}"


def test_the_operators_rules_are_prometheus_own(tmp_path):
    manifest = yaml.safe_load((KUBERNETES / "components/prometheus/prometheusrule.yaml").read_text())
    rules = manifest["spec"]["groups"]
    own = [
        rule
        for file in ("rules.yml", "alerts.yml")
        for group in yaml.safe_load((ROOT / "docker/prometheus" / file).read_text())["groups"]
        for rule in group["rules"]
    ]
    assert [rule for group in rules for rule in group["rules"]] == own
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(manifest["spec"]))
    checked = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
