"""How far a comparison is."""

import sys
import time

from sk_dml.reality_check._ledger import SILENCE


def duration(seconds):
    """Write a duration.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    str
        Such as "2 h 05 min", "3 min 20 s" or "12 s".
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class Progress:
    """Show on the standard error what is done, the best so far, and the time left.

    Parameters
    ----------
    verbose : int
        0 shows nothing.
    """

    def __init__(self, verbose):
        self.verbose = verbose
        self.width = 0

    def begin(self, what, n_finished, n_pieces, *, n_after=0, deadline=None):
        """Show that one half of the work begins.

        Parameters
        ----------
        what : str
        n_finished, n_pieces : int
            How many trials or repeats are done already, and of how many.
        n_after : int, default=0
            Repeats that follow.
        deadline : float or None, default=None
            When this half ends at the latest, as ``time.time()`` counts.
        """
        self.n_before, self.n_pieces, self.n_after = n_finished, n_pieces, n_after
        self.deadline = deadline
        self.start, self.waits = time.time(), False
        if n_finished < n_pieces:
            self._write(what)

    def show(self, what, n_finished):
        """Show that this process has finished a piece of work.

        Parameters
        ----------
        what : str
            Method, trial and best so far.
        n_finished : int
            Pieces of this half that are done, by whomever.
        """
        now, self.waits = time.time(), False
        rate = (now - self.start) / max(n_finished - self.n_before, 1)
        left = rate * (self.n_pieces - n_finished)
        if self.deadline is not None:
            left = min(left, max(self.deadline - now, 0))
        left += rate * self.n_after
        self._write(f"{what}; about {duration(left)} left")

    def wait(self, seconds):
        """Show that all that is left is held by other processes.

        Parameters
        ----------
        seconds : float
            About to be waited, which tell nothing of the time that pieces take.
        """
        self.start += seconds
        if not self.waits:
            self._write(
                "Waiting for what other processes run; if one was killed, for "
                f"{duration(SILENCE)} at most"
            )
        self.waits = True

    def _write(self, text):
        if not self.verbose:
            return
        terminal = sys.stderr.isatty()
        padded = text.ljust(self.width) if terminal else text
        end = "\r" if terminal else "\n"
        print(padded, end=end, file=sys.stderr, flush=True)
        self.width = len(text)

    def close(self):
        """Leave the line that was drawn over."""
        if self.verbose and self.width and sys.stderr.isatty():
            print(file=sys.stderr)
