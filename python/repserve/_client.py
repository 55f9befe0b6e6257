"""A client of a server over HTTP, with nothing but the standard library."""

import http.client
import io
import json
import os
import ssl
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from repserve._binary import RepserveError, StrPath
from repserve._json import Object, as_object, as_objects

POLL_S = 0.05


class Savable(Protocol):
    """A picture such as Pillow's, which can be encoded."""

    def save(self, fp: Any, format: str | None = None) -> None:
        """Writes it into a file."""


Image = bytes | bytearray | memoryview | StrPath | Savable
"""The bytes of an image file, the path of one, or a picture of Pillow's (sent as PNG, so without loss)."""


class ResponseError(RepserveError):
    """A server refused a request, or could not serve it."""

    def __init__(self, status: int, code: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{detail} ({code}, status {status})")
        self.status = status
        """The status of HTTP."""
        self.code = code
        """What went wrong, in a word that stays the same over versions, such as `invalid_image` or `overloaded`."""
        self.detail = detail
        """The server's own message."""
        self.retry_after_s = retry_after_s
        """After how many seconds the server would have the request sent again; None where it does not say."""


@dataclass(frozen=True)
class Class:
    """A class that the model finds in an image."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What the model finds in one image."""

    classes: list[Class]
    """The best classes, best first; none where `error` is set."""
    name: str | None
    """The image's file name, where it has one."""
    error: ResponseError | None
    """Why there are no classes; only with `partial`."""

    @property
    def best(self) -> Class:
        """The best class.

        Raises:
            RepserveError: there is none.
        """
        if self.error is not None:
            raise self.error
        if not self.classes:
            raise RepserveError("no class is probable enough (output.threshold of the model)")
        return self.classes[0]


class Client:
    """Sends images to a server. Threads may share it; each gets a connection of its own."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """
        Args:
            url: the server's, http:// or https://.
            api_key: one of the keys in the server's `security.api_keys_file`.
            timeout_s: the longest wait for a connection, and between two parts of a response.
            tls: whose certificates are trusted; left out, those of the system.

        Raises:
            ValueError: `url` is none of HTTP.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of a server; give one such as http://127.0.0.1:8080")
        self.url = url.rstrip("/")
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout_s = timeout_s
        self._own = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes this thread's connection."""
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is not None:
            connection.close()

    def classify(
        self,
        image: Image,
        *,
        top_k: int | None = None,
        timeout_ms: int | None = None,
        model: str | None = None,
        version: str | None = None,
    ) -> Prediction:
        """Classifies one image.

        Args:
            image: see `Image`.
            top_k: how many classes; left out, as many as the server's setting says.
            timeout_ms: the longest that it may take on the server.
            model: its name; left out, the server's default one.
            version: of the model; left out, the newest.

        Raises:
            ResponseError: the server refuses the image or the request.
            RepserveError: the server cannot be reached.
            OSError: the file cannot be read.
        """
        query = {"top_k": top_k, "timeout_ms": timeout_ms, "model": model, "version": version}
        name, encoded = _encoded(image)
        found = self._json("POST", "/classify", query, encoded, "application/octet-stream")
        return _prediction(as_objects(found.get("predictions"))[0], name)

    def classify_many(
        self,
        images: Iterable[Image],
        *,
        partial: bool = False,
        top_k: int | None = None,
        timeout_ms: int | None = None,
        model: str | None = None,
        version: str | None = None,
    ) -> list[Prediction]:
        """Classifies several images in one request, of which the server bounds the size (`limits.request_images_max`).

        Args:
            images: see `Image`; the predictions are in their order.
            partial: whether an image that cannot be classified has an `error` in its place; else the request fails.
            top_k, timeout_ms, model, version: as for `classify`.

        Raises:
            ResponseError, RepserveError, OSError: as for `classify`.
        """
        query = {"top_k": top_k, "timeout_ms": timeout_ms, "model": model, "version": version}
        encoded = [_encoded(image) for image in images]
        if not encoded:
            return []
        body, kind = _form(encoded)
        found = self._json("POST", "/classify", {**query, "partial": "true" if partial else None}, body, kind)
        predictions = as_objects(found.get("predictions"))
        return [_prediction(one, name) for one, (name, _) in zip(predictions, encoded, strict=True)]

    def ready(self) -> bool:
        """Whether the server takes requests; False also where it cannot be reached."""
        try:
            status, _, _ = self._request("GET", "/readyz")
        except RepserveError:
            return False
        return status == 200

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Waits until the server takes requests.

        Raises:
            RepserveError: it does not within `timeout_s`, with its own reason.
        """
        limit = time.monotonic() + timeout_s
        while True:
            try:
                self._json("GET", "/readyz")
                return
            except RepserveError as error:
                if time.monotonic() >= limit:
                    raise RepserveError(f"{self.url} is not ready after {timeout_s:g} s: {error}") from error
            time.sleep(POLL_S)

    def metadata(self, model: str) -> Object:
        """What the server says of a model: its inputs and outputs, and how it computes.

        Raises:
            ResponseError: there is no such model, or it is not served.
            RepserveError: the server cannot be reached.
        """
        return self._json("GET", f"/v2/models/{urllib.parse.quote(model, safe='')}")

    def metrics(self) -> str:
        """The server's metrics, as Prometheus reads them.

        Raises:
            ResponseError: they are at the server's second address (`server.admin_listen`), or take an API key.
            RepserveError: the server cannot be reached.
        """
        status, headers, body = self._request("GET", "/metrics")
        if status != 200:
            raise _error(status, headers, body)
        return body.decode("utf-8", "replace")

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int | None] | None = None,
        body: bytes | None = None,
        kind: str | None = None,
    ) -> Object:
        given = {key: value for key, value in (query or {}).items() if value is not None}
        target = f"{path}?{urllib.parse.urlencode(given)}" if given else path
        status, headers, response = self._request(method, target, body, kind)
        if status != 200:
            raise _error(status, headers, response)
        try:
            return as_object(json.loads(response))
        except ValueError as error:
            raise RepserveError(f"{self.url} returned no JSON: is that a repserve server?") from error

    def _request(
        self, method: str, target: str, body: bytes | None = None, kind: str | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = dict(self._headers)
        if kind is not None:
            headers["content-type"] = kind
        while True:
            connection, fresh = self._connection()
            try:
                connection.request(method, self._path + target, body, headers)
                response = connection.getresponse()
                return response.status, dict(response.headers.items()), response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._own.connection = None
                # The server closes connections that are idle. No request changes anything, so each can be sent again.
                stale = isinstance(error, (ConnectionError, http.client.BadStatusLine)) and not fresh
                if not stale:
                    raise RepserveError(f"no response from {self.url}: {error}") from error

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """This thread's connection, and whether it is a new one."""
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is not None and connection.sock is not None:
            return connection, False
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        else:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_s, context=self._tls
            )
        self._own.connection = connection
        return connection, True


def _encoded(image: Image) -> tuple[str | None, bytes]:
    """An image's file name, where it has one, and its bytes."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        return None, bytes(image)
    if isinstance(image, (str, os.PathLike)):
        with open(image, "rb") as file:
            return os.path.basename(os.fspath(image)), file.read()
    encoded = io.BytesIO()
    image.save(encoded, format="PNG")
    return None, encoded.getvalue()


def _form(images: list[tuple[str | None, bytes]]) -> tuple[bytes, str]:
    """A body of multipart/form-data (RFC 7578), and its content type."""
    boundary = uuid.uuid4().hex
    parts: list[bytes] = []
    for number, (name, encoded) in enumerate(images):
        shown = (name or str(number)).replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        head = f'--{boundary}\r\ncontent-disposition: form-data; name="image"; filename="{shown}"\r\n\r\n'
        parts += [head.encode(), encoded, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _prediction(found: Object, name: str | None) -> Prediction:
    error = as_object(found.get("error"))
    return Prediction(
        classes=[
            Class(index=one["index"], label=one["label"], probability=one["probability"])
            for one in as_objects(found.get("classes"))
        ],
        name=name,
        error=ResponseError(200, error["code"], error["detail"]) if error else None,
    )


def _error(status: int, headers: Mapping[str, str], body: bytes) -> ResponseError:
    """The error that a response tells (RFC 9457)."""
    try:
        problem = as_object(json.loads(body))
    except ValueError:
        problem = {}
    detail = problem.get("detail") or f"the server returned status {status}"
    retry_after = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    retry_after_s = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    return ResponseError(status, problem.get("code") or "unknown", detail, retry_after_s)
