"""Whether it was memory that ran out: each library says so in its own words."""

from __future__ import annotations

import errno
from collections.abc import Iterator

# What CUDA, MPS, torch's allocators of CPUs, ITK, zlib, C++ and the loader of libraries say; the class alone tells it
# only for CUDA and numpy.
_WORDS = (
    *("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc"),
    *("failed to allocate memory", "unable to allocate", "failed to map segment", "can't start new thread"),
    *("could not create a memory", "insufficient memory"),
)


def is_shortage(error: BaseException) -> bool:
    """Whether an error, or one that it was made from, says that memory ran out."""
    return any(_says_so(each) for each in _chain(error))


def _says_so(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return any(words in str(error).lower() for words in _WORDS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        yield found
        seen.append(found)
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
