"""The compose files, used: see docker/compose-test."""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

from load import Load, until

DOCKER = pathlib.Path(__file__).parent
ROOT = DOCKER.parent
PROJECT = "repserve-test"
PORT, PROMETHEUS_PORT = 18080, 19090
REPLICAS = 3
OWN_MB_MAX = 80


def run(*command, check=True, quiet=True, **options):
    done = subprocess.run([*map(str, command)], capture_output=quiet, text=True, **options)
    if check and done.returncode:
        sys.exit(f"compose-test: {' '.join(map(str, command))} failed:\n{done.stdout}\n{done.stderr}")
    return (done.stdout or "").strip()


def step(text):
    print(f"== {text} ({time.monotonic() - BEGAN:.0f} s)", flush=True)


BEGAN = time.monotonic()
COMPOSE = ["docker-compose", "--compatibility"]
if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
    COMPOSE = ["docker", "compose"]


def environment(image):
    return {
        **os.environ,
        "REPSERVE_IMAGE": image,
        "REPSERVE_PORT": str(PORT),
        "PROMETHEUS_PORT": str(PROMETHEUS_PORT),
        "REPSERVE_CPUS": "1",
        "REPSERVE_LOG_FORMAT": "text",
    }


class Project:
    """A compose file that is up."""

    def __init__(self, file, image, services, *options):
        self.command = [*COMPOSE, "--project-name", PROJECT, "--file", DOCKER / file]
        self.environment = environment(image)
        self.do("down", "--volumes", "--remove-orphans")
        self.do("up", "--detach", "--no-build", *options, *services)

    def do(self, *arguments):
        return run(*self.command, *arguments, env=self.environment)

    def containers(self, service):
        return self.do("ps", "--quiet", service).split()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            unusual = [line for line in self.do("logs", "--no-color").splitlines() if '"status":200' not in line]
            print("\n".join(unusual[-100:]))
        self.do("down", "--volumes", "--remove-orphans", "--timeout", "5")


def fetch(path, port=PORT):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        return None, repr(error).encode()


def health(container):
    return run("docker", "inspect", "--format", "{{.State.Health.Status}}", container, check=False)


def healthy(containers):
    until("healthy replicas", lambda: all(health(c) == "healthy" for c in containers))


def inspect(container):
    (found,) = json.loads(run("docker", "inspect", container))
    return found


def single(image):
    """compose.yaml: the server and Prometheus; the container is locked down, and Prometheus sees it."""
    step("compose.yaml: the server and Prometheus")
    with Project("compose.yaml", image, ["repserve", "prometheus"]) as project:
        (container,) = project.containers("repserve")
        healthy([container])
        host = inspect(container)["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"], host
        assert host["Memory"] == 2**30 and host["NanoCpus"] == 10**9, (host["Memory"], host["NanoCpus"])
        assert inspect(container)["Config"]["User"].split(":")[0] == "65532"
        shell = subprocess.run(["docker", "exec", container, "sh", "-c", "true"], capture_output=True)
        assert shell.returncode != 0, "the image has a shell"
        with Load(PORT, 2) as load:
            load.reach(60)
        load.check("one replica")
        assert fetch("/")[0] == 200 and b"<title>repserve" in fetch("/")[1]
        assert fetch("/metrics")[0] == 404, "metrics and the health check are at the second listener"
        query = "/api/v1/query?query=sum(repserve_images_total)"

        def scraped():
            status, body = fetch(query, PROMETHEUS_PORT)
            return status == 200 and json.loads(body)["data"]["result"]

        until("Prometheus to scrape the server", scraped)
        rules = json.loads(fetch("/api/v1/rules", PROMETHEUS_PORT)[1])["data"]["groups"]
        assert all(rule["health"] != "err" for group in rules for rule in group["rules"])
        drained(container)


def drained(container):
    """SIGTERM: it says that it drains, loses no request that it has taken, and ends by itself and well."""
    began = time.monotonic()
    with Load(PORT, 2) as load:
        load.reach(20)
        run("docker", "kill", "--signal", "TERM", container)
        until("the server to say that it drains", lambda: fetch("/readyz")[0] == 503, 10)
    load.check("requests while it drains", at_least=20)
    until("the drained server to end", lambda: not inspect(container)["State"]["Running"], 60)
    seconds = time.monotonic() - began
    state = inspect(container)["State"]
    assert state["ExitCode"] == 0 and not state["OOMKilled"], state
    log = subprocess.run(["docker", "logs", container], capture_output=True, text=True).stderr
    lines = [line for line in log.splitlines() if "draining" in line or "stopped" in line]
    assert len(lines) == 2 and lines[-1].endswith("INFO stopped"), log[-2000:]
    print(f"   SIGTERM: drained and ended with 0 within {seconds:.1f} s", flush=True)


def tried(entry):
    """The replicas that a line of the balancer's log names, in order; a request that began anew has ` : ` between."""
    return re.split(r", | : ", entry["tried"])


def scale(image):
    """compose.scale.yaml: a rolling restart and a killed replica."""
    step(f"compose.scale.yaml: {REPLICAS} replicas behind nginx")
    services = ["repserve", "nginx", "prometheus"]
    with Project("compose.scale.yaml", image, services, "--scale", f"repserve={REPLICAS}") as project:
        replicas = project.containers("repserve")
        assert len(replicas) == REPLICAS, replicas
        healthy(replicas)
        until("nginx", lambda: fetch("/readyz")[0] == 200)
        with Load(PORT) as load:
            load.reach(100)
        load.check("all replicas up")

        step("a rolling restart under load")
        with Load(PORT) as load:
            for replica in replicas:
                load.reach(50)
                run("docker", "restart", "--time", "40", replica)
                healthy([replica])
            load.reach(50)
        load.check("rolling restart")

        step("a replica is killed under load")
        since = str(int(time.time()))
        with Load(PORT) as load:
            load.reach(100)
            run("docker", "kill", replicas[0])
            load.reach(300)
        load.check("killed replica")
        (balancer,) = project.containers("nginx")
        lines = run("docker", "logs", "--since", since, balancer).splitlines()
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        retried = [entry for entry in entries if len(tried(entry)) > 1]
        assert all(entry["status"] == 200 for entry in entries if entry["method"] == "POST")
        print(f"   {len(retried)} of {len(entries)} requests were sent again to another replica", flush=True)
        served = {tried(entry)[-1] for entry in entries[-100:]}
        assert len(served) == REPLICAS - 1, served


def stack(image):
    """The same definition as a stack on a swarm of one node: a rolling update under load."""
    step("a Swarm stack on one node")
    if run("docker", "info", "--format", "{{.Swarm.LocalNodeState}}") != "inactive":
        sys.exit("compose-test: this engine is in a swarm already; the test makes one of its own")
    run("docker", "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1")
    try:
        deploy(image)
    finally:
        run("docker", "stack", "rm", PROJECT, check=False)
        run("docker", "swarm", "leave", "--force", check=False)


def deploy(image):
    run(DOCKER / "stack-deploy.sh", PROJECT, "--resolve-image", "never", env=environment(image))
    service = f"{PROJECT}_repserve"
    running = lambda: run("docker", "service", "ps", "--filter", "desired-state=running",
                          "--format", "{{.CurrentState}}", service).count("Running")
    try:
        until("the stack's replicas", lambda: running() == REPLICAS)
        until("the stack's balancer", lambda: fetch("/readyz")[0] == 200)
    except AssertionError as error:
        why = run("docker", "service", "ps", "--no-trunc", "--format", "{{.Name}} {{.CurrentState}} {{.Error}}", service)
        raise AssertionError(f"{error}; tasks:\n{why}") from None
    step("a rolling update under load")
    with Load(PORT) as load:
        load.reach(50)
        run("docker", "service", "update", "--detach=false", "--env-add", "REPSERVE__SERVER__TOP_K=3", service)
        load.reach(50)
    load.check("rolling update")


def bases():
    """The public images, or stand-ins where no registry can be reached. Returns the image that the Dockerfile ends with."""
    step("the base images")
    (base,) = re.findall("^ARG RUNTIME_IMAGE=(.+)$", (ROOT / "Dockerfile").read_text(), re.M)
    if not run("docker", "pull", "--quiet", base, check=False):
        print("   no registry can be reached: stand-ins", flush=True)
        run(DOCKER / "offline-bases.sh", "all", quiet=False)
    return base


def built(base):
    """The project's image, which is small."""
    step("the image: docker build takes some minutes")
    image = "repserve:latest"
    run("docker", "build", "--tag", image, ".", cwd=ROOT)
    size = lambda name: int(run("docker", "image", "inspect", "--format", "{{.Size}}", name)) / 1e6
    own = size(image) - size(base)
    print(f"   {own:.1f} MB without its base, {size(image):.1f} MB in all", flush=True)
    assert own < OWN_MB_MAX, own
    return image


TESTS = {"single": single, "scale": scale, "stack": stack}

parser = argparse.ArgumentParser()
parser.add_argument("--image", help="use this image instead of building one")
parser.add_argument("--only", action="append", choices=TESTS, help="only this test; may be repeated")
parser.add_argument("--bases", action="store_true", help="only get, or make, the base images")
arguments = parser.parse_args()
base = bases()
if arguments.bases:
    sys.exit()
image = arguments.image or built(base)
for name in arguments.only or TESTS:
    TESTS[name](image)
step("all passed")
