"""Wait as long as it makes sense, and keep what came: python deadlines.py [MODEL]"""

import sys

from ollama_ext import Client, IdleTimeout, OllamaTimeout, Timeouts


def main(model: str = "llama3.2") -> None:
    """Give up on silence, not on length."""
    limits = Timeouts(connect=2.0, first_byte=120.0, between=0.5)
    with Client(timeout=limits) as ollama:
        try:
            with ollama.chat_stream(model, "Why is the sky blue?") as stream:
                for text in stream.text_deltas():
                    print(text, end="", flush=True)
            print()
        except IdleTimeout as error:
            print(f"\nit fell silent; {error.partial_text!r} is what came")
        try:
            print(ollama.chat(model, "In one word?", timeout=1.0).text)  # all of it, in one second
        except OllamaTimeout as error:
            print(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
