"""What an embedding costs that a model allows, where nobody asks for it and where everybody does.

    python benches/protocols/embeddings.py [--binary target/release/repserve] [--model models/repvgg-cifar10] [--embedding /Flatten_output_0]

Starts the binary with the model and with a copy that allows the embedding, sends both the same JPEG in turns, from one client and from eight, and reads the
CPU time of their threads before and after each turn. Prints a Markdown table of medians and quartiles. The figures in docs/models.md are its output.
"""

import argparse
import concurrent.futures
import http.client
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
import urllib.parse

sys.path.append(str(pathlib.Path(__file__).parents[1]))

from server import Server  # noqa: E402

CLIENTS_MAX = 8


def allowing(model, embedding, folder):
    """A copy of the model that allows the embedding."""
    copy = pathlib.Path(folder) / "model"
    shutil.copytree(model, copy)
    manifest = (copy / "model.toml").read_text()
    before, output, after = manifest.partition("[output]\n")
    (copy / "model.toml").write_text(f'{before}{output or "[output]" + chr(10)}embeddings = ["{embedding}"]\n{after}')
    return copy


class Case:
    """Requests to one server, over connections that stay."""

    def __init__(self, title, server, query, image):
        self.title, self.server, self.path, self.image = title, server, f"/classify?{query}", image
        self.connections = [http.client.HTTPConnection(*server.address) for _ in range(CLIENTS_MAX)]

    def send(self, connection, requests):
        for _ in range(requests):
            connection.request("POST", self.path, self.image, {"content-type": "image/jpeg"})
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise SystemExit(body.decode())

    def turn(self, pool, clients, requests):
        """CPU milliseconds a request, and requests a second."""
        cpu, start = self.server.cpu_seconds_exactly(), time.monotonic()
        list(pool.map(lambda connection: self.send(connection, requests), self.connections[:clients]))
        seconds, count = time.monotonic() - start, clients * requests
        return (self.server.cpu_seconds_exactly() - cpu) / count * 1e3, count / seconds


def shown(values, digits):
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", default="target/release/repserve")
    arguments.add_argument("--model", default="models/repvgg-cifar10")
    arguments.add_argument("--embedding", default="/Flatten_output_0")
    arguments.add_argument("--image", default="models/repvgg-cifar10/examples/ship.jpg")
    arguments.add_argument("--rounds", type=int, default=12)
    options = arguments.parse_args()
    image = pathlib.Path(options.image).read_bytes()
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(CLIENTS_MAX) as pool:
        without = Server(options.binary, ["--model", options.model])
        with_ = Server(options.binary, ["--model", allowing(options.model, options.embedding, folder)])
        query = "top_k=1&embedding=" + urllib.parse.quote(options.embedding)
        cases = [
            Case("not allowed", without, "top_k=1", image),
            Case("allowed, not asked for", with_, "top_k=1", image),
            Case("asked for", with_, query, image),
        ]
        print("| clients | embedding | CPU ms a request, median (quartiles) | requests a second |\n|---|---|---|---|")
        for clients, requests in [(1, 30), (CLIENTS_MAX, 10)]:
            seen = {case.title: [] for case in cases}
            for round_ in range(options.rounds + 1):
                for case in cases:
                    turn = case.turn(pool, clients, requests)
                    if round_ > 0:
                        seen[case.title].append(turn)
            for title, turns in seen.items():
                cpu, rate = zip(*turns)
                print(f"| {clients} | {title} | {shown(cpu, 2)} | {shown(rate, 0)} |")
        without.close(), with_.close()


if __name__ == "__main__":
    main()
