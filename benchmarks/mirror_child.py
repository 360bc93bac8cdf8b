"""What a fresh interpreter does when it is measured: ours and boto3. Argument: the job as JSON.

Nothing else of the benchmark is imported here; it would count as theirs.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ollama_ext.s3 import Mirror

_CONNECTIONS = 16


def _mirror(job: dict[str, Any]) -> Mirror:
    from ollama_ext.s3 import LocalStore, Mirror  # noqa: PLC0415 - boto3 must not pay for it

    return Mirror(
        bucket=job["bucket"],
        prefix=job["prefix"],
        endpoint_url=job["url"],
        region=job["region"],
        store=LocalStore(job["store"]),
        connections=job["connections"],
        ca_bundle=job["ca"],
    )


def _import(job: dict[str, Any]) -> dict[str, Any]:
    _mirror(job).import_model(job["model"])
    return {}


def _publish(job: dict[str, Any]) -> dict[str, Any]:
    _mirror(job).publish_model(job["model"])
    return {}


def _list(job: dict[str, Any]) -> dict[str, Any]:
    mirror = _mirror(job)
    start = time.perf_counter()
    models = sum(1 for _ in mirror.list_models())
    return {"models": models, "seconds": time.perf_counter() - start}


def _boto3(job: dict[str, Any]) -> tuple[Any, Any]:
    """Return a client and the settings of a transfer: without the CRT, which not every machine has."""
    client = import_module("boto3").client(
        "s3", endpoint_url=job["url"], region_name=job["region"], verify=job["ca"]
    )
    config: Any = import_module("boto3.s3.transfer").TransferConfig
    settings = {"max_concurrency": _CONNECTIONS, "use_threads": len(job["files"]) == 1}
    try:
        return client, config(preferred_transfer_client="classic", **settings)
    except TypeError:  # a boto3 that has no other
        return client, config(**settings)


def _boto3_import(job: dict[str, Any]) -> dict[str, Any]:
    """Fetch files with `download_file` and hash them: one by parts, several beside each other."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - ours may not need it
    from hashlib import file_digest  # noqa: PLC0415 - nor this

    client, config = _boto3(job)

    def fetch(key: str, path: str) -> str:
        client.download_file(job["bucket"], key, path, Config=config)
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib would be one more import
            return file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        return {"digests": list(pool.map(fetch, job["files"].keys(), job["files"].values()))}


def _boto3_publish(job: dict[str, Any]) -> dict[str, Any]:
    client, config = _boto3(job)
    for key, path in job["files"].items():
        client.upload_file(path, job["bucket"], key, Config=config)
    return {}


_ACTIONS = {
    "import": _import,
    "publish": _publish,
    "list": _list,
    "boto3-import": _boto3_import,
    "boto3-publish": _boto3_publish,
}

if __name__ == "__main__":
    _job = json.loads(sys.argv[1])
    json.dump(_ACTIONS[_job["action"]](_job), sys.stdout)
