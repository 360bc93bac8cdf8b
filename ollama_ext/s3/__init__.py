"""The model mirror: Ollama models in an S3 bucket, and how they get into a model directory and back.

mirror               what is done with a bucket: `Mirror`
store                what is done with a directory: `LocalStore`, which needs no boto3
results, reporting   what comes back, and what is told meanwhile
errors               what goes wrong

manifests, layout    what a model is made of, and where it lies; strict_json reads it as Ollama does
location             which directory, if nobody says
importing            models from a source into a store: engine, fetching, carrying and download get the blobs,
                     staging and journal keep them until publication shows the model
publishing           models from a store into a bucket: sending, uploads and sums prove each blob
verification         hashing what is there; repairing replaces what is bad
pruning              removing what no model names; bucket_pruning does it in a bucket
bucket               the S3 operations, over bucket_client and bucket_body; with bucket_errors these are all
                     that know boto3, and none of its errors gets out; endpoint guards where they go
bucket_objects       what S3 says of objects
bucket_source        a bucket to read models from; source: what it has in common with a directory
directories          files that are never reached through a link
listing, comparing   what a bucket has, and how that differs from a store
limits, crew         how much a transfer may take, and the threads that do it

``import ollama_ext.s3`` needs nothing but the library itself; a `Mirror` needs ``ollama-ext[s3]``.
"""

from __future__ import annotations

from .bucket_client import Credentials
from .errors import (
    BlobMissing,
    BucketAnswerRefused,
    BucketError,
    BucketForbidden,
    BucketNotFound,
    BucketUnreachable,
    DigestMismatch,
    ExtraMissing,
    ManifestRefused,
    MirrorError,
    ModelMissing,
    NameRefused,
    NoSpace,
    ObjectChanged,
    RemoteModelRefused,
    SettingRefused,
    StoreRefused,
    TransferInterrupted,
)
from .limits import TransferSettings
from .location import default_store
from .manifests import Layer, Manifest, parse_manifest
from .mirror import Mirror
from .reporting import TransferProgress, TransferTotals
from .results import (
    BlobError,
    Difference,
    Listing,
    ModelEntry,
    PruneResult,
    Refusal,
    TransferResult,
    VerifyResult,
)
from .store import LocalStore

__all__ = [
    "BlobError",
    "BlobMissing",
    "BucketAnswerRefused",
    "BucketError",
    "BucketForbidden",
    "BucketNotFound",
    "BucketUnreachable",
    "Credentials",
    "Difference",
    "DigestMismatch",
    "ExtraMissing",
    "Layer",
    "Listing",
    "LocalStore",
    "Manifest",
    "ManifestRefused",
    "Mirror",
    "MirrorError",
    "ModelEntry",
    "ModelMissing",
    "NameRefused",
    "NoSpace",
    "ObjectChanged",
    "PruneResult",
    "Refusal",
    "RemoteModelRefused",
    "SettingRefused",
    "StoreRefused",
    "TransferInterrupted",
    "TransferProgress",
    "TransferResult",
    "TransferSettings",
    "TransferTotals",
    "VerifyResult",
    "default_store",
    "parse_manifest",
]
