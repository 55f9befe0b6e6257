"""What the binary says of an ONNX file, and of what became of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from repserve._binary import StrPath, run
from repserve._json import Object, as_object, as_objects


@dataclass(frozen=True)
class Graph:
    """Size and work of a graph."""

    sha256: str
    """Of the file, without external data."""
    operators: dict[str, int]
    """Nodes by operator."""
    parameters: int
    """Elements of all floating-point constants."""
    macs: int | None
    """Multiplications for one image; None where a shape is not known."""


@dataclass(frozen=True)
class Block:
    """A region that became one convolution."""

    output: str
    """The value that it makes, in both graphs."""
    kind: str
    """`parallel`, `serial` or `folded`."""
    branches: str
    """Its branches in words, such as `3x3 + 1x1 + identity`."""
    nodes: list[str]
    """The nodes that it replaced."""


@dataclass(frozen=True)
class Refusal:
    """A region that looks like a block and stays as it is."""

    block: str
    """The value that it makes."""
    code: str
    """Why, in a word, such as `shift_before_padding`."""
    detail: Any
    """What the reason says besides: a value's name, numbers; often None."""
    nodes: list[str]
    """The node that shows it, then the others of the block."""


@dataclass(frozen=True)
class Equivalence:
    """How original and result compare in ONNX Runtime."""

    images: int
    """Inputs on which they were compared."""
    relative_error: float
    """The largest difference of an output, relative to its scale."""
    top1_agreement: float
    """Share of the inputs for which both rank the same class first."""


@dataclass(frozen=True)
class Report:
    """What was fused in a graph, and what was not."""

    source: Graph
    """The graph as it was read."""
    deploy: Graph
    """The graph as it is written."""
    blocks: list[Block]
    """What was fused."""
    refusals: list[Refusal]
    """What was left as it is, and why."""
    warnings: list[str]
    """What a reader should know besides."""
    equivalence: Equivalence | None
    """How both compare; None where they were not compared."""
    not_verified: str | None
    """Why they were not compared; None where they were, or where that was not wanted (`inspect`)."""
    json: Object = field(repr=False)
    """All that the binary reports."""


@dataclass(frozen=True)
class Inspection:
    """What a file is, and what would be fused in it."""

    inputs: list[str]
    """Name, type and shape of each input."""
    outputs: list[str]
    """Name, type and shape of each output."""
    opset: int
    """Version of ONNX's operator set."""
    already_fused: bool
    """Whether there is no block of branches left."""
    report: Report
    """What would be fused."""


def convert(
    path: StrPath,
    out: StrPath,
    *,
    force: bool = False,
    output: str | None = None,
    probe: StrPath | None = None,
) -> Report:
    """Fuses a train-time ONNX file into its deploy form, compares both in ONNX Runtime, and writes the result to `out`.

    Args:
        path: an ONNX file, or a model's folder.
        out: where the deploy graph is written.
        force: whether `out` may exist; it is replaced.
        output: the one output to keep.
        probe: a folder of images on which both are compared too, besides random inputs.

    Raises:
        RepserveError: `path` cannot be read or fused, both differ, or `out` cannot be written.
    """
    arguments: list[StrPath] = ["convert", "--json", "--out", out]
    arguments += ["--force"] if force else []
    arguments += [f"--output={output}"] if output is not None else []
    arguments += ["--probe", probe] if probe is not None else []
    return _report(json.loads(run([*arguments, "--", path])))


def inspect(path: StrPath, *, output: str | None = None) -> Inspection:
    """Says what a file is, which blocks would be fused, and what would not and why.

    Args:
        path: an ONNX file, or a model's folder.
        output: the one output to keep.

    Raises:
        RepserveError: `path` cannot be read or fused.
    """
    chosen: Sequence[str] = [f"--output={output}"] if output is not None else []
    found = as_object(json.loads(run(["inspect", "--json", *chosen, "--", path])))
    return Inspection(
        inputs=list(found["inputs"]),
        outputs=list(found["outputs"]),
        opset=int(found["opset"]),
        already_fused=bool(found["already_fused"]),
        report=_report(found),
    )


def _report(value: object) -> Report:
    found = as_object(value)
    compared = as_object(found.get("equivalence"))
    return Report(
        source=_graph(found["source"]),
        deploy=_graph(found["deploy"]),
        blocks=[
            Block(output=b["output"], kind=b["kind"], branches=b["branches"], nodes=list(b["nodes"]))
            for b in as_objects(found["blocks"])
        ],
        refusals=[
            Refusal(
                block=r["block"],
                code=r["reason"]["code"],
                detail=r["reason"].get("detail"),
                nodes=list(r["nodes"]),
            )
            for r in as_objects(found["refusals"])
        ],
        warnings=list(found["warnings"]),
        equivalence=_equivalence(compared) if "relative_error" in compared else None,
        not_verified=compared.get("not_verified"),
        json=found,
    )


def _graph(value: object) -> Graph:
    found = as_object(value)
    return Graph(
        sha256=found["sha256"],
        operators=dict(found["operators"]),
        parameters=found["parameters"],
        macs=found["macs"],
    )


def _equivalence(found: Object) -> Equivalence:
    return Equivalence(
        images=found["images"],
        relative_error=found["relative_error"],
        top1_agreement=found["top1_agreement"],
    )
