"""How far a comparison is."""

import sys
import time


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
    n_pieces : int
        Trials and repeats of all methods.
    deadline : float or None
        When the search ends at the latest, as ``time.time()`` counts.
    """

    def __init__(self, verbose, n_pieces, deadline=None):
        self.verbose = verbose
        self.n_pieces = n_pieces
        self.deadline = deadline
        self.n_own = 0
        self.start = time.time()
        self.width = 0

    def show(self, what, n_finished):
        """Show that this process has finished a piece of work.

        Parameters
        ----------
        what : str
            Method, trial and best so far.
        n_finished : int
            Pieces that are done, by whomever.
        """
        self.n_own += 1
        if not self.verbose:
            return
        rate = (time.time() - self.start) / self.n_own
        left = rate * max(self.n_pieces - n_finished, 0)
        text = f"{what}; about {duration(left)} left"
        if self.deadline is not None and time.time() < self.deadline:
            text += f" (search: at most {duration(self.deadline - time.time())})"
        terminal = sys.stderr.isatty()
        padded = text.ljust(self.width) if terminal else text
        end = "\r" if terminal else "\n"
        print(padded, end=end, file=sys.stderr, flush=True)
        self.width = len(text)

    def close(self):
        """Leave the line that was drawn over."""
        if self.verbose and self.width and sys.stderr.isatty():
            print(file=sys.stderr)
