"""castline: raw text in, a finished and verified TensorRT engine out.

The stages are the subpackages, in the order data flows: `castline.corpus`, `castline.model`,
`castline.compile`; `castline.cli` is the command line over them, `castline._C` the C++ core under them.
"""

__version__ = "0.1.0"
