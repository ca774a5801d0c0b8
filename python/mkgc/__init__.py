"""Class-incremental benchmarks for multimodal knowledge-graph construction.

The package contains the program `mkgc` and a thin layer over it: `Stream` deals out a benchmark task by task to a method of
one's own, and `load_board` reads the scores of a report. https://github.com/zjunlp/ContinueMKGC has the published splits.
"""

from ._board import load_board
from ._program import Error, find_program, version
from ._stream import Refused, Stream, Task

__all__ = ["Error", "Refused", "Stream", "Task", "find_program", "load_board", "version"]


def __getattr__(name):
    # Asking the program takes a process, so the version is read when somebody wants it.
    if name == "__version__":
        return version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
