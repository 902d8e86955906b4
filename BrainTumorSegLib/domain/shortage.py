"""Whether it was memory that ran out: each library says so in its own words."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from .errors import ShortageError

# What CUDA, MPS, torch's allocators of CPUs, ITK, zlib, C++ and the loader of libraries say; the class alone tells it
# only for CUDA and numpy.
_WORDS = (
    *("out of memory", "can't alloc", "cannot allocate memory", "not enough memory", "bad_alloc"),
    *("failed to allocate", "unable to allocate", "failed to map segment", "can't start new thread"),
    *("could not create a memory", "could not create a primitive", "insufficient memory"),
)


# Where libraries find fewer addresses than they take, some end the process: those of images and of numbers take 0.4 GB,
# those of a network 0.8 GB, and threads that read images beside each other some more.
LEAST_FOR_IMAGES, LEAST_FOR_NETWORKS = 600_000_000, 1_100_000_000


def address_limit() -> int | None:
    """Bytes of addresses that this process may have in all (``ulimit -v``); None for any number."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def check_addresses(least: int = LEAST_FOR_NETWORKS) -> None:
    """Refuse to load libraries where the limit of this process (``ulimit -v``) has no room for them.

    Args:
        least: bytes that they need.

    Raises:
        ShortageError: says how much there would have to be.
    """
    limit = address_limit()
    if limit is not None and limit < least:
        raise ShortageError(
            f"Memory ran out: this process may take {limit / 1e9:.2f} GB, and the libraries alone need"
            f" {least / 1e9:g} GB.",
            "Raise the limit (ulimit -v).",
        )


def is_shortage(error: BaseException) -> bool:
    """Whether an error, or one that it was made from, says that memory ran out."""
    return any(_says_so(each) for each in _chain(error))


def _says_so(error: BaseException) -> bool:
    if isinstance(error, SystemError):  # compiled code that found no room for its error: nothing else leaves none
        return any(words in str(error) for words in ("without exception set", "without setting an exception"))
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
