"""See which of your machines serve, and what: python which_server_is_up.py [HOST ...]"""

import sys

from ollama_ext import Client, OllamaError


def main(*hosts: str) -> None:
    """Ask each host; one that does not answer costs two seconds and an explanation."""
    for host in hosts or ("127.0.0.1",):
        with Client(host, timeout=2.0, retry=None) as ollama:
            try:
                version = ollama.server_version()
                loaded = [model.name for model in ollama.list_running()]
                print(ollama.host, version, f"{len(ollama.list_models())} models", "loaded:", loaded)
            except OllamaError as error:
                print(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
