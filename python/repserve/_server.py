"""A server beside a notebook or a test."""

import atexit
import json
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Self

from repserve._binary import RepserveError, StrPath, binary, message
from repserve._client import Client
from repserve._json import Object, as_object

Setting = bool | int | float | str | Sequence[str]

LOG_LINES_MAX = 1000
OWN_SETTINGS = ("log.format", "log.level", "server.listen")


class Server:
    """A server in a process of its own, which ends with the block that it serves:

        with repserve.Server("path/to/model") as server:
            print(server.client().classify("ship.jpg").best)

    In a notebook, where no block lasts, `start` and `stop` do the same; a server that was not stopped ends with Python.
    """

    def __init__(
        self,
        model: StrPath | None = None,
        *,
        models: StrPath | None = None,
        listen: str = "127.0.0.1:0",
        config: StrPath | None = None,
        settings: Mapping[str, Setting] | None = None,
        start_timeout_s: float = 600.0,
        stop_timeout_s: float = 60.0,
    ) -> None:
        """
        Args:
            model: a model's folder, or an ONNX file; left out, the model that is built in.
            models: a folder of models, in place of `model`.
            listen: address and port; 0 takes a free one.
            config: a configuration file.
            settings: keys of the configuration and their values, such as `{"server.top_k": 1}`.
            start_timeout_s: how long loading may take.
            stop_timeout_s: how long finishing what was admitted may take.

        Raises:
            ValueError: `model` and `models` are both given, or a setting is one that this class sets itself.
        """
        if model is not None and models is not None:
            raise ValueError("give a model or a folder of models, not both")
        given = dict(settings or {})
        for key in OWN_SETTINGS:
            if key in given:
                raise ValueError(f"{key} is set by this class, which reads the log; `listen` is an argument")
        self._arguments = ["serve", f"--listen={listen}"]
        for flag, path in [("--model", model), ("--models", models), ("--config", config)]:
            self._arguments += [f"{flag}={os.fspath(path)}"] if path is not None else []
        # Nobody else has to notice that this server goes.
        for key, value in {"server.drain_delay_ms": 0, **given, "log.format": "json", "log.level": "info"}.items():
            self._arguments += ["--set", f"{key}={_text(value)}"]
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._listening: Object = {}
        self._log: deque[str] = deque(maxlen=LOG_LINES_MAX)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Starts the server and waits until it takes requests.

        Raises:
            RepserveError: it does not, with its own reason.
        """
        if self._process is not None:
            raise RepserveError("the server has been started already")
        command = [binary(), *self._arguments]
        self._log.clear()
        # A session of its own: interrupting a cell of a notebook does not end the server.
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise RepserveError(f"{command[0]} cannot be run: {error.strerror}") from error
        self._process = process
        atexit.register(self.stop)
        outcome = _Outcome()
        threading.Thread(target=self._read, args=(process, outcome), daemon=True).start()
        if not outcome.known.wait(self._start_timeout_s):
            outcome.problem = f"it is not ready after {self._start_timeout_s:g} s"
        if outcome.problem is not None:
            self.stop()
            raise RepserveError(outcome.problem)
        return self

    def stop(self) -> None:
        """Ends the server: what was admitted is finished first. Does nothing where none runs."""
        process, self._process, self._listening = self._process, None, {}
        atexit.unregister(self.stop)
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def client(self, *, api_key: str | None = None, timeout_s: float = 60.0) -> Client:
        """A client of this server."""
        return Client(self.url, api_key=api_key, timeout_s=timeout_s)

    @property
    def address(self) -> str:
        """Where it listens, such as `127.0.0.1:8080`."""
        return self._heard("address")

    @property
    def grpc_address(self) -> str:
        """Where gRPC is served, where `server.grpc_listen` is set."""
        return self._heard("grpc")

    @property
    def admin_address(self) -> str:
        """Where metrics and probes are, where `server.admin_listen` is set."""
        return self._heard("admin")

    @property
    def url(self) -> str:
        """Where it listens, as a URL."""
        return f"{'https' if self._listening.get('https') else 'http'}://{self.address}"

    @property
    def pid(self) -> int:
        """The process."""
        if self._process is None:
            raise RepserveError("the server does not run; call start()")
        return self._process.pid

    @property
    def log(self) -> list[str]:
        """The last lines of its log, each of them JSON."""
        return list(self._log)

    def _heard(self, name: str) -> str:
        address = self._listening.get(name)
        if not isinstance(address, str):
            raise RepserveError(
                f"the server has no such address ({name})" if self._listening else "the server does not run; call start()"
            )
        return address

    def _read(self, process: "subprocess.Popen[bytes]", outcome: "_Outcome") -> None:
        """Reads the log to its end, so that the server never waits for a reader."""
        stream: IO[bytes] | None = process.stderr
        assert stream is not None
        for raw in stream:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self._log.append(line)
            said = _parsed(line)
            match said.get("message"):
                case "listening":
                    self._listening = said
                case "ready":
                    outcome.known.set()
                case "not ready":
                    outcome.end(str(said.get("reason")))
                case "ended by an error":
                    outcome.end(str(said.get("error")))
                case _:
                    pass
        stream.close()
        outcome.end(message("\n".join(self._log), process.wait()))


class _Outcome:
    """How starting ended: well, or with a problem."""

    def __init__(self) -> None:
        self.known = threading.Event()
        self.problem: str | None = None

    def end(self, problem: str) -> None:
        """It ended with this, unless it had ended before."""
        if not self.known.is_set():
            self.problem = problem
            self.known.set()


def _parsed(line: str) -> Object:
    try:
        return as_object(json.loads(line))
    except ValueError:
        return {}


def _text(value: Setting) -> str:
    """A setting's value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value if isinstance(value, (bool, int, float)) else list(value))
