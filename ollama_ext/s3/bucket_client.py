"""Makes the boto3 client of a bucket: how it is to behave, and with which keys."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ollama_ext.version import __version__

from .bucket_errors import translated
from .endpoint import check_endpoint, is_amazon, is_loopback
from .errors import ExtraMissing, SettingRefused
from .limits import CONNECTIONS

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_CONNECT_SECONDS: Final = 10
_TRIES: Final = 5
_SPARE_CONNECTIONS: Final = 8  # for planning and listing beside the transfers


class Credentials(msgspec.Struct, frozen=True):
    """Keys to a bucket, for those who have them in no environment or profile. ``repr`` hides them."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        """Show nothing of them."""
        return "Credentials(...)"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How a bucket is reached; see `Mirror`."""

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    credentials: Credentials | None = None
    anonymous: bool = False
    ca_bundle: str | None = None
    expected_owner: str | None = None
    allow_link_local: bool = False
    connections: int = CONNECTIONS
    stall: float = 30.0


def make_client(access: Access, what: str) -> S3Client:
    """Make a client; nothing is sent.

    Args:
        access: How the bucket is reached.
        what: What to call it in messages.

    Raises:
        ExtraMissing: boto3 is not installed.
        SettingRefused: The endpoint is not to be used.
        BucketForbidden: There is no such profile.
    """
    if access.endpoint_url is not None:
        check_endpoint(access.endpoint_url, allow_link_local=access.allow_link_local)
    if access.ca_bundle is not None and not Path(access.ca_bundle).is_file():
        raise SettingRefused(
            f"ca_bundle {str(access.ca_bundle)!r:.200} is no file of certificates", argument="ca_bundle"
        )
    make = _maker(access)
    with translated(what):
        try:
            client: S3Client = make(access.endpoint_url)
            if access.endpoint_url is None and not is_amazon(used := client.meta.endpoint_url):
                # The environment or a profile names another.
                check_endpoint(used, allow_link_local=access.allow_link_local)
                client.close()
                client = make(used)
        except ValueError as error:  # botocore's, of the endpoint or the region
            raise SettingRefused(f"{what}: {error}") from None
    return client


def _maker(access: Access) -> Any:
    try:
        import boto3  # noqa: PLC0415 - an extra
        from botocore import UNSIGNED  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ExtraMissing(
            f"a bucket needs {error.name}, which is not installed: pip install 'ollama-ext[s3]'"
        ) from None

    # At DEBUG botocore logs signatures and session tokens. Whoever wants that sets its level explicitly.
    logger = logging.getLogger("botocore")
    if logger.level == logging.NOTSET:
        logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))

    def make(endpoint_url: str | None) -> Any:
        aws = endpoint_url is None or is_amazon(endpoint_url)
        keys: dict[str, Any] = {}
        if access.credentials is not None:
            keys = {
                "aws_access_key_id": access.credentials.access_key_id,
                "aws_secret_access_key": access.credentials.secret_access_key,
                "aws_session_token": access.credentials.session_token,
            }
        how: Any = {"addressing_style": "auto" if aws else "path", "payload_signing_enabled": False}
        config = Config(
            s3=how,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",  # every byte is hashed anyway
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=access.stall,
            max_pool_connections=access.connections + _SPARE_CONNECTIONS,
            tcp_keepalive=True,
            user_agent_extra=f"ollama-ext/{__version__}",
            # No proxy of the environment for a server on this machine, as with `Client`.
            proxies={} if endpoint_url is not None and is_loopback(endpoint_url) else None,
            signature_version=UNSIGNED if access.anonymous else None,
        )
        session = boto3.session.Session(profile_name=access.profile, region_name=access.region, **keys)
        return session.client("s3", endpoint_url=endpoint_url, verify=access.ca_bundle, config=config)

    return make
