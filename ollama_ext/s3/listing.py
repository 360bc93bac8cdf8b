"""The models of a bucket: their names by listing it, their digests and sizes by reading their manifests."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from .crew import Crew
from .errors import BucketError, MirrorError, NameRefused
from .layout import MANIFESTS, model_name, named_by, shown_name
from .manifests import Manifest, parse_manifest
from .results import Listing, ModelEntry, Refusal

if TYPE_CHECKING:
    from .bucket_source import BucketSource

_READERS: Final = 16


def list_bucket(source: BucketSource, *, details: bool) -> Listing:
    """List the models of a bucket; see `Mirror.list_models`."""
    prefix = f"{source.prefix}{MANIFESTS}/"
    entries: dict[str, ModelEntry] = {}
    refused: list[Refusal] = []
    alike: dict[str, list[str]] = {}  # paths that differ in upper and lower case only
    for info in source.bucket.list(prefix):
        path = info.key.removeprefix(prefix)
        if info.size == 0 and (not path or path.endswith("/")):
            continue  # what some programs make for a directory
        try:
            entries[path] = ModelEntry(name=shown_name(named_by(path)), modified=info.modified)
        except NameRefused as error:
            refused.append(Refusal(path=info.key, reason=error.message))
        else:
            alike.setdefault(path.lower(), []).append(path)
    for paths in alike.values():
        for path in paths if len(paths) > 1 else ():
            others = ", ".join(other for other in paths if other != path)
            reason = f"it differs from {others} in upper and lower case only: Ollama takes one for the other"
            refused.append(Refusal(path=f"{prefix}{path}", reason=reason))
            del entries[path]
    models = list(entries.values())
    if details:
        with Crew(_READERS, "mirror-details") as crew:
            looked = crew.map(partial(_detailed, source), models)
        models = [each for each in looked if isinstance(each, ModelEntry)]
        refused += [each for each in looked if isinstance(each, Refusal)]
    return Listing(sorted(models, key=lambda entry: entry.name), refused)


def _detailed(source: BucketSource, entry: ModelEntry) -> ModelEntry | Refusal:
    try:
        manifest = bucket_manifest(source, entry.name)
    except BucketError:
        raise
    except MirrorError as error:
        return Refusal(path=source.manifest_key(model_name(entry.name)), reason=error.message)
    return msgspec.structs.replace(entry, digest=manifest.digest, size=manifest.size)


def bucket_manifest(source: BucketSource, model: str) -> Manifest:
    """Return what a model of a bucket is made of.

    Raises:
        ModelMissing: There is no such model.
        NameRefused: That is no name of a model.
        ManifestRefused: Its manifest is not to be trusted.
        BucketError: It cannot be read.
    """
    name = model_name(model)
    return parse_manifest(source.manifest(name), where=f"{source.bucket.name}/{source.manifest_key(name)}")
