"""What goes through the connection: a header in JSON, then raw arrays. Nothing is unpickled."""

import json
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

__all__ = ["GONE", "receive", "send"]

GONE = (EOFError, ConnectionError, BrokenPipeError)  # what tells that the other end is no longer there


def send(connection: Connection, header: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """`header` and `arrays`, of any shape and dtype."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    listed = [[name, array.dtype.str, array.shape] for name, array in whole.items()]
    connection.send_bytes(json.dumps({**header, "arrays": listed}).encode())
    for array in whole.values():
        connection.send_bytes(array.tobytes())


def receive(connection: Connection) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The next header and its arrays. Raises one of `GONE`."""
    header = json.loads(connection.recv_bytes())
    arrays = {
        name: np.frombuffer(connection.recv_bytes(), np.dtype(dtype)).reshape(shape).copy()
        for name, dtype, shape in header.pop("arrays")
    }
    return header, arrays
