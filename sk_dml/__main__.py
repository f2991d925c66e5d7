"""Command line: a demonstration, and the reality check."""

import argparse
import signal
import sys
import webbrowser
from pathlib import Path

from sk_dml import _demo
from sk_dml.reality_check import _command as reality_check


def main(arguments=None):
    """Parse the command line (None: that of the process) and run."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m sk_dml", description=_demo.DESCRIPTION, formatter_class=raw
    )
    parser.add_argument(
        "--random-state", type=int, default=0, help="seed of everything (default: 0)"
    )
    parser.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        default=_demo.PAGE,
        help="where the page goes (default: %(default)s)",
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--open", action="store_true", help="open the page in the browser"
    )
    either.add_argument(
        "--no-page",
        action="store_const",
        const=None,
        dest="page",
        help="print the summary alone",
    )
    commands = parser.add_subparsers(dest="command", title="instead")
    check = commands.add_parser(
        "reality-check",
        help="compare methods fairly on your own data",
        description=reality_check.DESCRIPTION,
        formatter_class=raw,
    )
    reality_check.add_arguments(check)
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        _demonstrate(parser, parsed)
        return
    try:
        has_results = reality_check.run(parsed)
    except (ImportError, OSError, TypeError, ValueError) as error:
        check.error(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted. The same command continues from here.", file=sys.stderr)
        sys.exit(130)
    if not has_results:
        sys.exit(1)


def _demonstrate(parser, parsed):
    """Show the demonstration, after checking that its page can be written."""
    page = parsed.page
    try:
        if page is not None:
            is_new = not page.exists()
            page.open("a").close()
            if is_new:
                page.unlink()  # nothing stays if the demonstration is interrupted
    except OSError as error:
        parser.error(f"cannot write the page {page}: {error.strerror}")
    # Ctrl-C ends the program; it would only end the fit that is running.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        figures = _demo.demonstrate(parsed.random_state, page=page)
    finally:
        signal.signal(signal.SIGINT, handler)
    if parsed.open and "characters" in figures:  # else matplotlib is missing
        webbrowser.open(page.resolve().as_uri())


if __name__ == "__main__":
    main()
