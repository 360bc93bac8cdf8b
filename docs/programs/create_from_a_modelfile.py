"""Make a model of your own, use it and delete it: python create_from_a_modelfile.py [BASE]"""

import sys

from ollama_ext import Client

MODELFILE = """
FROM {base}
PARAMETER temperature 0.2
PARAMETER stop "###"
SYSTEM You answer in one short sentence.
"""


def main(base: str = "llama3.2", name: str = "short-answers") -> None:
    """Create, ask, clean up."""
    with Client() as ollama:
        with ollama.create_model_stream(name, modelfile=MODELFILE.format(base=base)) as steps:
            for step in steps:
                print(step.status)
        print(ollama.chat(name, "Why is the sky blue?").text)
        ollama.unload_model(name)
        ollama.delete_model(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
