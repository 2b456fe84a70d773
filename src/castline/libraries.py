"""Where pip puts the shared libraries that castline loads but does not ship."""

import importlib.util
import os

# The packages that hold libtensorrt_rtx.so.1 and libnvinfer.so.11, and those that once did.
_TENSORRT_PACKAGES = ("tensorrt_rtx_libs", "tensorrt_libs", "tensorrt_rtx", "tensorrt")


def tensorrt_path() -> str:
    """The folders of the installed TensorRT packages, joined by ":", as `castline._C.Engine` takes them.

    None of them is imported.
    """
    folders: list[str] = []
    for package in _TENSORRT_PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None:
            folders += spec.submodule_search_locations or []
    return os.pathsep.join(folders)
