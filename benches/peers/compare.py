"""repserve beside FastAPI, LitServe, mosec and BentoML over the same network, photograph and cores, taking turns; the client is wrk.

    cargo build --release --features jpeg-turbo-simd
    mkdir networks && cargo bench --bench winograd -- --export networks "repvgg-a0 224x224 | batch 1, one thread"
    pip install -r benches/peers/requirements.txt     # and Debian's wrk
    python benches/peers/compare.py "networks/repvgg-a0 224x224.onnx" PHOTO.jpg [--rounds 3] [--seconds 8]

Each server runs alone while it is measured, with a one-thread session a core (repserve chooses for itself). Prints, for 1 and 16
connections, the median over the rounds of images/s and of wrk's latency percentiles, and checks that all answer alike.
"""

import argparse
import re
import statistics
import subprocess

from servers import URL, Running, kind, prepare, servers

LUA = 'wrk.method = "POST"\nwrk.body = io.open("{body}", "rb"):read("*a")\nwrk.headers["content-type"] = "{kind}"\n'


def load(script, connections, seconds):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "20s", "-s", script, URL]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"not every request was answered:\n{text}")
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    percentiles = {p: float(n) * units[u] for p, n, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", text)}
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), percentiles["50"], percentiles["99"]


def best(answer):
    """The probabilities of the best classes, whichever way the server wraps them."""
    classes = answer["predictions"][0]["classes"] if "predictions" in answer else answer["classes"]
    return {c["index"]: c["probability"] for c in classes}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("photo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    arguments = parser.parse_args()
    scratch, bodies = prepare(arguments.network, arguments.photo)
    for as_form, (file, _) in bodies.items():
        with open(f"{scratch}/{as_form}.lua", "w") as target:
            target.write(LUA.format(body=file, kind=kind(as_form)))
    figures, answers = {}, {}
    for _ in range(arguments.rounds):
        for name, (command, environment, as_form) in servers(scratch).items():
            with open(f"{scratch}/log", "w") as log, Running(command, environment, log, bodies[as_form][1], as_form) as answer:
                answers[name] = best(answer)
                for connections in (1, 16):
                    load(f"{scratch}/{as_form}.lua", connections, 1)
                    found = load(f"{scratch}/{as_form}.lua", connections, arguments.seconds)
                    figures.setdefault((name, connections), []).append(found)
    print("| server | connections | images/s | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for (name, connections), rounds in figures.items():
        rate, p50, p99 = (statistics.median(column) for column in zip(*rounds))
        print(f"| {name} | {connections} | {rate:.1f} | {p50:.1f} | {p99:.1f} |")
    ours = answers["repserve"]
    for name, theirs in answers.items():
        common = ours.keys() & theirs.keys()
        furthest = max((abs(ours[i] - theirs[i]) for i in common), default=1.0)
        print(f"{name}: {len(common)} of {len(ours)} best classes are repserve's, probabilities within {furthest:.1e}")


if __name__ == "__main__":
    main()
