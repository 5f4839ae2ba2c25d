"""Running out of memory in training, as one line that says what to reduce."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from chargen.errors import TrainingError
from chargen.machine import is_out_of_memory


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Turn a failed allocation into an error that says what to reduce.

    Raises:
        TrainingError: there is not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    else:
        return
    raise TrainingError(
        "out of memory; train again with a smaller --hidden, --layers, --batch-size or --bptt, "
        "or a smaller text"
    )
