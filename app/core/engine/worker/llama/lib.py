"""The bindings, without the package's own high-level layer.

`import llama_cpp` runs an `__init__` that imports the Llama class, chat formats, jinja2 and diskcache:
0.15 s and 22 MB that no worker needs. So the package is entered under its own name but without its
`__init__`; the low-level module imports nothing from it.
"""

import ctypes
import importlib.util
import sys
import types
from typing import Any


def _enter_package(name: str) -> None:
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"The package {name} is not installed.", name=name)
    package = types.ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules[name] = package


_enter_package("llama_cpp")

from llama_cpp import llama_cpp as _bindings  # noqa: E402

# Any: the bindings are ctypes functions whose annotations describe Python types that do not exist.
L: Any = _bindings


def address_function(name: str, *argtypes: Any) -> Any:
    """`name` of libllama, returning a plain address: no pointer object is made per call."""
    function = L._lib[name]
    function.argtypes = list(argtypes)
    function.restype = ctypes.c_void_p
    return function
