"""Pull a model and show how far it is: python pull_with_a_bar.py [MODEL]"""

import sys

from ollama_ext import Client, ModelNotInRegistry

WIDTH = 40


def main(model: str = "all-minilm") -> None:
    """Draw a bar that never goes back."""
    try:
        with Client() as ollama, ollama.pull_model_stream(model) as steps:
            for step in steps:
                full = round(step.overall.fraction * WIDTH)
                bar = "#" * full + "." * (WIDTH - full)
                print(f"\r[{bar}] {step.overall.fraction:4.0%} {step.status[:30]:30}", end="", flush=True)
        print()
    except ModelNotInRegistry as error:
        print(f"\n{error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
