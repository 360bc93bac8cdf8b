"""Which addresses of an S3 server are taken: what operators mean, not what attackers would set. No I/O."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from .errors import SettingRefused

if TYPE_CHECKING:
    from typing import NoReturn

_METADATA_ADDRESSES: Final = (
    ipaddress.ip_network("169.254.0.0/16"),
    ipaddress.ip_network("fe80::/10"),
    ipaddress.ip_network("fd00:ec2::/32"),
)
# No domain ends in a number. C libraries take such hosts for addresses: 2852039166 is 169.254.169.254.
_NUMERIC: Final = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?", re.ASCII | re.IGNORECASE)
_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn")


def check_endpoint(url: str, *, allow_link_local: bool) -> None:
    """Look at the address of an S3 server.

    Raises:
        SettingRefused: It is no ``http://`` or ``https://`` URL, holds a user or password, a query or a path,
            or is the address of a cloud's metadata service and that is not allowed.
    """

    def refuse(problem: str) -> NoReturn:
        raise SettingRefused(
            f"endpoint_url {problem}: write one such as 'https://s3.example.com'", argument="endpoint_url"
        )

    if not isinstance(url, str):
        refuse(f"must be text; not {url!r:.80}")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        parts.port  # noqa: B018 - refuses a bad one
    except ValueError as error:
        refuse(f"is no URL ({error})")
    # What stands before an "@" may be a password, so the URL is not shown before this.
    if parts.username is not None or parts.password is not None:
        refuse("must not hold a user or a password; credentials come from the environment or a profile")
    if parts.scheme not in {"http", "https"} or not host:
        refuse(f"{url!r:.200} is not the http:// or https:// URL of a server")
    if parts.query or parts.fragment or parts.path.strip("/"):
        refuse(f"{url!r:.200} must end after the host and the port")
    address = _address(host)
    if address is None and _NUMERIC.fullmatch(host):
        refuse(f"{url!r:.200} must have its address as four decimal numbers")
    if not allow_link_local and address is not None and _is_metadata(address):
        refuse(
            f"{url!r:.200} is an address for metadata of machines, not of a bucket (allow_link_local=True, "
            "--allow-link-local, takes it nevertheless)"
        )


def is_amazon(url: str) -> bool:
    """Whether this is AWS itself, which wants the bucket in the host name; others want it in the path."""
    host = urlsplit(url).hostname or ""
    return host.endswith(_AMAZON)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_loopback(url: str) -> bool:
    """Whether a server is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_metadata(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped.version == network.version and mapped in network for network in _METADATA_ADDRESSES)
