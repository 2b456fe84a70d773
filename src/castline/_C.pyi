"""The C++ core: conversions only; the logic and its documentation are in csrc/."""

__version__: str
