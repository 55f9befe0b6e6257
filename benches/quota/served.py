"""What a CPU quota of a fraction of cores gives: images a second, latency, and probes meanwhile.

    python benches/quota/served.py PHOTO.jpg [--model DIR] [--quotas 0.5,1,1.5,2] [--connections 16] [--seconds 5]

A row a quota. One core's rate is that of a quota of 1. Needs root (cgroups) and wrk.
"""

import argparse
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1]))

from server import Group, Probes, Server, find, load  # noqa: E402


def served(server, image, connections, seconds):
    """Images a second, and the 50th and 99th percentile of the latency in ms."""
    figures = load(server.address, image, connections, seconds)
    if figures["failed"]:
        raise SystemExit(f"{figures['failed']} requests failed")
    return figures["rate"], figures["p50"], figures["p99"]


def serve(arguments, quota):
    group = Group(quota)
    try:
        model = ["--model", arguments.model] if arguments.model else []
        server = Server(arguments.binary, model, arguments.set, group)
        try:
            workers = find(server.model(), "threads")["cores"]
            with Probes(server) as probes:
                figures = served(server, arguments.image, arguments.connections, arguments.seconds)
            alone = served(server, arguments.image, 1, max(arguments.seconds // 2, 1))
        finally:
            server.close()
    finally:
        group.close()
    return workers, figures, alone, probes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--model")
    parser.add_argument("--binary", default="target/release/repserve")
    parser.add_argument("--quotas", default="1,0.5,1.5,2")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], help="a setting of the server, KEY=VALUE")
    arguments = parser.parse_args()
    print("| quota | workers | images/s | of quota x one core's | p50, ms | p99, ms | alone: images/s, p50, p99 | probes: p50, p99 |")
    print("|---|---|---|---|---|---|---|---|")
    one = None
    for quota in (float(q) for q in arguments.quotas.split(",")):
        workers, (rate, p50, p99), alone, probes = serve(arguments, quota)
        one = rate if quota == 1 else one
        share = f"{rate / (quota * one):.2f}" if one else ""
        beside = f"{probes.percentile(0.5):.1f}, {probes.percentile(0.99):.1f}"
        lone = f"{alone[0]:.1f}, {alone[1]:.1f}, {alone[2]:.1f}"
        print(f"| {quota} | {workers} | {rate:.1f} | {share} | {p50:.0f} | {p99:.0f} | {lone} | {beside} |", flush=True)


if __name__ == "__main__":
    main()
