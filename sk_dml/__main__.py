"""Command line: a demonstration, and the reality check."""

import argparse
import sys

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
        _demo.demonstrate(parsed.random_state)
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


if __name__ == "__main__":
    main()
