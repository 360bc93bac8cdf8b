"""Upload a GGUF file and make a model of it: python upload_weights.py FILE NAME"""

import sys
from pathlib import Path

from ollama_ext import Client, Progress


def show(step: Progress) -> None:
    """Be told while it is hashed and sent."""
    print(f"\r{step.status} {step.completed:,} of {step.total:,} bytes", end="", flush=True)


def main(file: str, name: str) -> None:
    """Send the file in constant memory, unless the server has it; twice costs nothing."""
    path = Path(file)
    with Client() as ollama:
        digest = ollama.push_blob(None, path, on_progress=show)
        print(f"\n{digest}", "is there" if ollama.check_blob(digest) else "is gone")
        ollama.create_model(name, files={path.name: digest})
        # The same in one step: ollama.create_model(name, files=path)
        print(name, "is made of it")


if __name__ == "__main__":
    main(*sys.argv[1:])
