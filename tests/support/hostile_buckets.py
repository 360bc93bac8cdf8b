"""A bucket that somebody fills who means no good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import model_stores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from types_boto3_s3 import S3Client


@dataclass(frozen=True)
class HostileBucket:
    """A bucket, and the right to write anything into it."""

    client: S3Client
    name: str

    def put_model(self, name: str, layers: Sequence[bytes]) -> bytes:
        """Write a good model, and return its manifest."""
        return model_stores.put_model(self.client, self.name, name, layers)

    def put_manifest(self, path: str, content: bytes) -> None:
        """Write anything below ``manifests/``."""
        model_stores.put_manifest(self.client, self.name, path, content)

    def put(self, key: str, content: bytes, **headers: Any) -> None:
        """Write anything anywhere."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content, **headers)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.client.delete_object(Bucket=self.name, Key=key)
