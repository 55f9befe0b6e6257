"""Serves convolutional image classifiers on a CPU; a thin module over the binary `repserve`, which this package holds.

`convert` and `inspect` fuse an ONNX file and say what was done, `Server` runs a server beside a notebook or a test, and `Client` sends it
images over HTTP. Whatever fails is a `RepserveError` with the binary's, or the server's, own message.
"""

from repserve._binary import RepserveError, binary
from repserve._client import Class, Client, Prediction, ResponseError
from repserve._report import Block, Equivalence, Graph, Inspection, Refusal, Report, convert, inspect
from repserve._server import Server

__all__ = [
    "Block",
    "Class",
    "Client",
    "Equivalence",
    "Graph",
    "Inspection",
    "Prediction",
    "Refusal",
    "Report",
    "RepserveError",
    "ResponseError",
    "Server",
    "binary",
    "convert",
    "inspect",
]
