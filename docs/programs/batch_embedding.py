"""Embed the lines of a file in batches, several at a time: python batch_embedding.py FILE [MODEL]"""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

from ollama_ext import EMPTY_USAGE, Client


def main(file: str, model: str = "all-minilm") -> None:
    """Print how many vectors there are, and what they took."""
    texts = Path(file).read_text(encoding="utf-8").splitlines()
    batches = [texts[start : start + 64] for start in range(0, len(texts), 64)]
    with Client() as ollama, ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(partial(ollama.embed, model), batches))
    vectors = list(chain.from_iterable(reply.embeddings for reply in replies))  # in the order of the lines
    usage = sum((reply.usage for reply in replies), EMPTY_USAGE)
    print(f"{len(vectors)} vectors of {len(vectors[0])} numbers from {usage.input_tokens} tokens")


if __name__ == "__main__":
    main(*sys.argv[1:])
