"""Run the drift check: `python spec/drift --help`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

# Run as a folder, Python puts this folder on the path; the package is imported from the one above.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from drift.cli import main  # noqa: E402 (findable only from here on)

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a server may send what cannot be shown
    sys.exit(main(sys.argv[1:]))
