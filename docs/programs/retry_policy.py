"""Say yourself when a call is made again, and see each time that it is: python retry_policy.py [MODEL]"""

import sys

from ollama_ext import Client, OllamaError, Retry, RetryPolicy


def report(retry: Retry) -> None:
    """Be told before each wait."""
    print(
        f"try {retry.attempt} of {retry.attempts}: {type(retry.error).__name__}, next in {retry.wait:.1f} s"
    )


def main(model: str = "llama3.2") -> None:
    """Ask a busy server patiently, then once and never again."""
    patient = RetryPolicy(attempts=6, wait_initial=0.2, wait_max=5.0, total=120.0, on_retry=report)
    with Client(retry=patient) as ollama:
        print(ollama.chat(model, "Name a colour.").text)
        try:
            print(ollama.chat(model, "And another.", retry=None).text)
        except OllamaError as error:
            print(f"once was not enough: {error}")
            # Your own work can follow the same rules; here it is one call that may fail as a whole.
            print(patient.call(lambda: ollama.chat(model, "And another.").text))


if __name__ == "__main__":
    main(*sys.argv[1:])
