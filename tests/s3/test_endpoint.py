"""Endpoints: what an operator means is taken, and what an attacker would set is not."""

from __future__ import annotations

import pytest

from ollama_ext.s3 import SettingRefused
from ollama_ext.s3.endpoint import check_endpoint, is_amazon


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000",
        "https://s3.example.com",
        "https://s3.example.com/",
        "HTTPS://S3.Example.com:443",
        "http://[::1]:9000",
        "http://minio",
        "http://169.253.255.255",
        "http://169.255.0.0",
        "http://[fd00:ec1::254]",
        "https://169.254.169.254.example.com",
    ],
)
def test_the_url_of_a_server_is_taken(url: str) -> None:
    check_endpoint(url, allow_link_local=False)


METADATA = [
    "http://169.254.169.254",
    "https://169.254.170.2:443/",
    "http://169.254.0.0",
    "http://169.254.255.255",
    "http://[fe80::1]",
    "http://[fe80::1%25eth0]",
    "http://[fd00:ec2::254]",
    "http://[FD00:EC2:0:0::254]:80",
    "http://[::ffff:169.254.169.254]",
    "http://[::ffff:a9fe:a9fe]",
]
#: The same address, as the C library resolves it.
OTHER_SPELLINGS = [
    "http://2852039166",
    "http://0xa9fea9fe",
    "http://0xA9.254.0251.0376",
    "http://169.254.43518",
    "http://169.16689662:80",
]


@pytest.mark.parametrize("url", METADATA)
def test_the_address_of_a_metadata_service_is_refused_unless_that_is_allowed(url: str) -> None:
    with pytest.raises(SettingRefused, match="is an address for metadata of machines") as caught:
        check_endpoint(url, allow_link_local=False)
    assert "allow_link_local=True" in str(caught.value)
    assert caught.value.argument == "endpoint_url"
    check_endpoint(url, allow_link_local=True)


@pytest.mark.parametrize(
    "url", [*OTHER_SPELLINGS, "http://169.254.169.254.", "http://1.2.3.256", "http://010.1.1.1"]
)
def test_an_address_is_taken_in_its_plain_spelling_only(url: str) -> None:
    for allow_link_local in (False, True):
        with pytest.raises(SettingRefused, match="must have its address as four decimal numbers"):
            check_endpoint(url, allow_link_local=allow_link_local)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "is not the http:// or https:// URL of a server"),
        ("s3.example.com", "is not the http:// or https:// URL of a server"),
        ("s3.example.com:9000", "is not the http:// or https:// URL of a server"),
        ("file:///etc/passwd", "is not the http:// or https:// URL of a server"),
        ("ftp://s3.example.com", "is not the http:// or https:// URL of a server"),
        ("http://", "is not the http:// or https:// URL of a server"),
        ("http://:9000", "is not the http:// or https:// URL of a server"),
        ("https://s3.example.com/bucket", "must end after the host and the port"),
        ("https://s3.example.com?x=1", "must end after the host and the port"),
        ("https://s3.example.com#x", "must end after the host and the port"),
        ("https://s3.example.com:port", "is no URL"),
        ("https://s3.example.com:99999", "is no URL"),
        ("https://[::1", "is no URL"),
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url: str, words: str) -> None:
    for allow_link_local in (False, True):
        with pytest.raises(SettingRefused) as caught:
            check_endpoint(url, allow_link_local=allow_link_local)
        assert words in str(caught.value)
        assert str(caught.value).endswith("write one such as 'https://s3.example.com'")
        assert caught.value.argument == "endpoint_url"


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@s3.example.com",
        "https://hunter2@s3.example.com",
        "https://:hunter2@s3.example.com",
        "ftp://user:hunter2@s3.example.com",
        "https://user:hunter2@169.254.169.254",
        "https://user:hunter2@s3.example.com/x?y",
        "https://user:hunter2@[::1",
        "https://user:hunter2@s3.example.com:99999",
        "https://user:hunter2@s3.example.com:port",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_shown(url: str) -> None:
    for allow_link_local in (False, True):
        with pytest.raises(SettingRefused) as caught:
            check_endpoint(url, allow_link_local=allow_link_local)
        assert "hunter2" not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize(
    ("url", "amazon"),
    [
        ("https://s3.eu-central-1.amazonaws.com", True),
        ("https://s3.dualstack.us-east-1.amazonaws.com:443", True),
        ("https://S3.AMAZONAWS.COM", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("https://bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com", True),
        ("https://evilamazonaws.com", False),
        ("https://amazonaws.com.example.com", False),
        ("https://s3.example.com", False),
        ("http://127.0.0.1:9000", False),
    ],
)
def test_amazon_is_told_by_its_domain(url: str, amazon: bool) -> None:
    assert is_amazon(url) is amazon
