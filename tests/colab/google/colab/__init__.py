"""Stands in for the package that only Colab has, so far as a notebook could call it. Nothing asks, nothing is sent.

`google` beside it has no `__init__.py`: it must stay a namespace package, or `google.protobuf` would be hidden.
"""

from google.colab import drive

__all__ = ["drive"]
