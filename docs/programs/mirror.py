"""Bring models of a bucket into the store of this machine: python mirror.py BUCKET MODEL [MODEL...]"""

import sys

from ollama_ext.s3 import Mirror, MirrorError, TransferProgress


def show(step: TransferProgress) -> None:
    """Be told of each step, by the thread that asked for it."""
    if not step.digest:  # a model as a whole
        print(f"{step.overall.fraction:4.0%} {step.model} {step.state}")


def main(bucket: str, *models: str) -> int:
    """Import what is new, and look at every byte of it once more; one model that fails stops no other."""
    failed = False
    with Mirror(bucket) as mirror:  # keys, region and endpoint are found as boto3 finds them
        for result in mirror.import_models(models, on_progress=show):
            if result.error is not None:
                print(f"{result.model}: {result.error}")
                failed = True
                continue
            checked = mirror.verify_model(result.model)
            print(
                f"{result.model}: {result.blobs_fetched} fetched, {checked.blobs_good} good, {result.digest}"
            )
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except MirrorError as problem:
        sys.exit(str(problem))
