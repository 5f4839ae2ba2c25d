"""chargen learns a text with a recurrent network and writes in its voice.

From Python::

    import chargen

    for piece in chargen.load("shakespeare").generate("ROMEO:", length=200):
        print(piece, end="")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chargen.machine import bound_spinning

if TYPE_CHECKING:
    from chargen.sampling.sampler import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

bound_spinning()  # must come before torch is imported


def __getattr__(name: str) -> object:
    """Import ``load`` on first use, so that ``chargen --help`` stays instant."""
    if name == "load":
        from chargen.sampling.sampler import load

        return load
    raise AttributeError(f"module 'chargen' has no attribute {name!r}")
