"""A standard output whose reader may leave early, as `head` does."""

import io
import os
import select
import sys

#: 128 and the number of the signal by which other programs end then.
LEFT = 141


def reader_left() -> bool:
    """Writes out what is printed, and tells whether nobody reads it any more.

    If so, the rest is dropped: Python would print an error about it at its end.
    """
    if sys.stdout is None:
        return False
    try:
        sys.stdout.flush()
        left = _is_shut()
    except BrokenPipeError:
        left = True
    if left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return left


def _is_shut() -> bool:
    """A text that was too long for the buffer is lost, and flushing is no error."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except io.UnsupportedOperation:
        # Not a file of the system: nobody can leave it.
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))
