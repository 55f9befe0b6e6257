"""Kubernetes manifests: each overlay is built and every object checked against its schema."""

import subprocess

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
