"""Reads one tensor of the graph as llama.cpp computes it: the way hidden states leave a slice.

llama.cpp's scheduler asks the callback about every node (31 per layer), with the interpreter's lock
taken each time, so what it does for a node that nobody wants must be next to nothing.
"""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.engine.worker.llama.lib import L


def _base_library() -> Any:
    folder = Path(L.__file__).parent / "lib"
    suffix = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
    for name in (f"libggml-base{suffix}", f"ggml-base{suffix}", "libggml-base.so"):
        if (folder / name).exists():
            return ctypes.CDLL(str(folder / name))
    raise FileNotFoundError(f"libggml-base is not in {folder}")


class Capture:
    """Copies the tensor called `name` out of every graph and stops the graph behind it.

    `callback` goes into a context's parameters. After a decode, `take` has the rows.
    """

    def __init__(self, name: str) -> None:
        base = _base_library()
        self._rows: list[NDArray[np.float32]] = []
        self._size_of = base.ggml_nbytes
        self._size_of.restype, self._size_of.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
        self._get = base.ggml_backend_tensor_get
        self._get.restype = None
        self._get.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
        self.callback: Callable[..., bool] = L.ggml_backend_sched_eval_callback(self._watcher(base, name))

    def _watcher(self, base: Any, name: str) -> Callable[[int, bool, object], bool]:
        get_name = base["ggml_get_name"]
        get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
        wanted = name.encode()
        read = self._read

        def watch(tensor: int, ask: bool, _data: object) -> bool:
            if ask:
                return bool(get_name(tensor) == wanted)
            read(tensor)
            return False  # ends the graph: what is behind the last real layer is never computed

        return watch

    def _read(self, tensor: int) -> None:
        rows = np.empty(self._size_of(tensor) // 4, np.float32)
        self._get(tensor, rows.ctypes.data, 0, rows.nbytes)
        self._rows.append(rows)

    def take(self, width: int) -> NDArray[np.float32]:
        """The rows [n, width] captured since the last call, in the order of the batch."""
        rows, self._rows = self._rows, []
        if not rows:
            return np.empty((0, width), np.float32)
        return (rows[0] if len(rows) == 1 else np.concatenate(rows)).reshape(-1, width)
