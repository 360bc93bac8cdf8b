"""Have a model fill in a form: python structured_output.py [MODEL]"""

import json
import sys

from ollama_ext import Client

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
}


def main(model: str = "llama3.2") -> None:
    """Ask for JSON that follows a schema, and check that the reply is whole before reading it."""
    with Client() as ollama:
        reply = ollama.chat(
            model, "Paris and its population.", format=SCHEMA, options={"temperature": 0, "num_predict": 200}
        )
    if reply.done_reason == "length":
        print("cut at num_predict: no JSON yet")
    else:
        answer = json.loads(reply.text)
        print(answer["city"], answer["population"])


if __name__ == "__main__":
    main(*sys.argv[1:])
