"""Stop a reply when somebody presses a key, here: a timer: python cancel_from_another_thread.py [MODEL]"""

import sys
import threading

from ollama_ext import Cancelled, CancelToken, Client


def main(model: str = "llama3.2", seconds: str = "0.2") -> None:
    """Cancel after a while, whatever the call is waiting for; the server stops generating."""
    token = CancelToken()
    threading.Timer(float(seconds), token.cancel).start()
    try:
        with Client() as ollama, ollama.chat_stream(model, "Tell me all.", cancel=token) as stream:
            for text in stream.text_deltas():
                print(text, end="", flush=True)
    except Cancelled as error:
        print(f"\nstopped after {len(error.partial_text)} characters")


if __name__ == "__main__":
    main(*sys.argv[1:])
