"""Goodput over offered load: repserve, an earlier build of it, FastAPI, LitServe, mosec and BentoML under the same deadline, one at a time.

    cargo build --release --features jpeg-turbo-simd
    pip install -r benches/peers/requirements.txt
    python benches/peers/goodput.py NETWORK.onnx PHOTO.jpg --out docs/benchmarks/goodput.json [--only repserve] [--before BINARY]
    cargo run -p repserve-plots docs/benchmarks/goodput.json      # writes docs/benchmarks/goodput.svg

Each server runs alone, with a one-thread session a core (repserve chooses for itself). The client is `repserve bench --server`: it finds
the server's capacity (16 connections, no deadline), then offers a quarter to ten times of it as a Poisson process over at most 1,000
connections, and counts what has status 200 within the deadline by its own clock, from the time when a request was due. repserve is told the
deadline (`?timeout_ms=`); the others have no such parameter. In OUT the curves of the servers that were measured are replaced, the others stay.
"""

import argparse
import json
import os
import subprocess

from servers import PORT, REPSERVE, Running, kind, prepare, repserve_command, servers

BEFORE = "repserve before"


def chosen(model, only, before):
    """Name to command, environment, and whether it takes the image as a form."""
    known = {name: how for name, how in servers(model).items() if "=" not in name}
    if before:
        known[BEFORE] = (repserve_command(os.path.abspath(before), model), {}, False)
    unknown = [name for name in only if name not in known]
    if unknown:
        raise SystemExit(f"--only {unknown[0]!r}: there is {', '.join(map(repr, known))} (--before names the binary of {BEFORE!r})")
    return {name: how for name, how in known.items() if not only or name in only}


def curve(name, body, as_form, arguments):
    command = [REPSERVE, "bench", "--json", "--server", f"127.0.0.1:{PORT}", "--image", body]
    command += ["--content-type", kind(as_form), "--deadline-ms", str(arguments.deadline_ms)]
    command += ["--seconds", str(arguments.seconds), "--rounds", str(arguments.rounds)]
    (report,) = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return report["curve"] | {"server": name}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("photo")
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--before", help="a repserve binary of an earlier commit")
    parser.add_argument("--deadline-ms", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    scratch, bodies = prepare(arguments.network, arguments.photo)
    curves = {}
    if os.path.exists(arguments.out):
        with open(arguments.out) as source:
            curves = {curve["server"]: curve for curve in json.load(source)}
    for name, (command, environment, as_form) in chosen(scratch, arguments.only, arguments.before).items():
        file, body = bodies[as_form]
        with open(f"{scratch}/log", "w") as log, Running(command, environment, log, body, as_form):
            curves[name] = curve(name, file, as_form, arguments)
        with open(arguments.out, "w") as target:
            json.dump(list(curves.values()), target, indent=2)
            target.write("\n")


if __name__ == "__main__":
    main()
