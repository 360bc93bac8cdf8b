"""Share one client between threads: python many_threads.py [MODEL]"""

import sys
from concurrent.futures import ThreadPoolExecutor

from ollama_ext import Client, OllamaError

QUESTIONS = [f"What is {number} times {number}?" for number in range(16)]


def main(model: str = "llama3.2") -> None:
    """Ask sixteen questions over at most four connections."""
    with Client(max_connections=4) as ollama:

        def ask(question: str) -> str:
            try:
                return ollama.chat(model, question).text
            except OllamaError as error:  # one that fails stops no other
                return f"failed: {error}"

        with ThreadPoolExecutor(16) as threads:
            for question, answer in zip(QUESTIONS, threads.map(ask, QUESTIONS), strict=True):
                print(question, answer[:60])


if __name__ == "__main__":
    main(*sys.argv[1:])
