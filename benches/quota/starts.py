"""Whether a start decides the same under a CPU quota and beside busy neighbours as on a quiet machine.

    python benches/quota/starts.py PHOTO.jpg [--model DIR] [--starts 10] [--binary target/release/repserve] [--cores 2]

Starts the server so many times quiet, under a quota of half a core, and beside two processes that spin. Then the quota is lifted, the
neighbours are stopped, and wrk measures what the server does. A row a condition: layers with the same kernel as most of the quiet starts
chose (in the start that has fewest of them), the plans, the seconds of a start, and the rates. Needs root (cgroups) and wrk.
"""

import argparse
import collections
import contextlib
import json
import pathlib
import statistics
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1]))

from server import Group, Server, find, load, spinners  # noqa: E402

# What the condition is called, its quota in cores, and its spinning processes.
CONDITIONS = [("quiet", None, 0), ("quota of 0.5", 0.5, 0), ("two busy neighbours", None, 2)]


def start(arguments, quota, neighbours):
    """Choices by layer, plan, seconds and rate of one start."""
    group = Group(quota)
    sets = ["cache.path="] + ([f"runtime.cores={arguments.cores}"] if arguments.cores else [])
    with contextlib.ExitStack() as stack:
        stack.callback(group.close)
        with spinners(neighbours):
            model = ["--model", arguments.model] if arguments.model else []
            server = Server(arguments.binary, model, sets, group)
        stack.callback(server.close)
        group.set(None)
        model = server.model()
        layers = find(model, "layers") or []
        threads = find(model, "threads")
        if arguments.verbose:
            kernels = find(model, "kernels") or {}
            figures = {key: kernels.get(key) for key in ("lowered", "ms_onnxruntime", "ms_lowered", "seconds")}
            print(json.dumps({**threads, **figures}), flush=True)
        plan = (threads["cores"], threads["batch_max"], threads["wide_threads"], threads["wide_max"])
        rate = load(server.address, arguments.image, 4, arguments.seconds)["rate"] if arguments.seconds else 0
        return [layer["choice"] for layer in layers], plan, server.seconds, rate


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--model")
    parser.add_argument("--binary", default="target/release/repserve")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=2, help="of load a start; 0: none")
    parser.add_argument("--cores", type=int, help="runtime.cores, so that the rates of all conditions compare")
    parser.add_argument("--verbose", action="store_true", help="also print each start's plan")
    arguments = parser.parse_args()
    # In turns, so that what changes meanwhile on the machine meets all conditions alike.
    rounds = [[start(arguments, *condition[1:]) for condition in CONDITIONS] for _ in range(arguments.starts)]
    quiet = [choices for choices, *_ in (one[0] for one in rounds)]
    usual = [collections.Counter(layer).most_common(1)[0][0] for layer in zip(*quiet)]
    print("| condition | layers as usual, least | plans (cores, batch, wide threads, wide batch): starts | start, s | images/s: least, median, most |")
    print("|---|---|---|---|---|")
    for index, (name, *_) in enumerate(CONDITIONS):
        choices, plans, seconds, rates = zip(*(one[index] for one in rounds))
        same = min(sum(a == b for a, b in zip(one, usual)) for one in choices)
        counted = ", ".join(f"{plan}: {count}" for plan, count in collections.Counter(plans).most_common())
        figures = f"{min(rates):.1f}, {statistics.median(rates):.1f}, {max(rates):.1f}"
        print(f"| {name} | {same} of {len(usual)} | {counted} | {statistics.median(seconds):.2f} | {figures} |")


if __name__ == "__main__":
    main()
