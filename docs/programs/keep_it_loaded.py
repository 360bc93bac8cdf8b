"""Load a model before it is needed, and free the memory afterwards: python keep_it_loaded.py [MODEL]"""

import sys
from datetime import timedelta

from ollama_ext import Client, ModelNotFound


def main(model: str = "llama3.2") -> None:
    """Pay for loading once."""
    with Client() as ollama:
        try:
            ollama.load_model(model, keep_alive=timedelta(hours=2))
        except ModelNotFound as error:
            print(error)
            return
        reply = ollama.generate(model, "Name a colour.", options={"num_predict": 20})
        print(reply.text, f"{reply.usage.tokens_per_second:.0f} tokens per second")
        ollama.unload_model(model)


if __name__ == "__main__":
    main(*sys.argv[1:])
