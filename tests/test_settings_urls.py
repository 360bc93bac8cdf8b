"""Addresses of brokers: which are taken, what is told about the others, and no password in any of it."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ollama_ext.settings import Settings, SettingsError, redacted


def urls(*given_urls: str) -> tuple[str, ...]:
    """Read the URLs of brokers."""
    return Settings.from_mapping({"amqp": {"urls": list(given_urls)}}, environ={}).amqp.urls


def fault(url: str) -> str:
    """Return what is told about the URL of a broker."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({"amqp": {"url": url}}, environ={})
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://localhost",
        "amqp://localhost/",
        "amqp://localhost:5672/%2F",
        "amqps://me:p%40ss%2Fw%3Ard@broker.example.com:5671/team",
        "amqp://me@10.0.0.1/a:b",
        "amqp://me:@rabbit_1",
        "amqp://[::1]:5672/",
        "amqp://me:caf%C3%A9@xn--caf-dma.example/",
    ],
)
def test_a_good_url_is_taken_as_it_is(url: str) -> None:
    assert urls(url) == (url,)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost", "must begin with amqp:// or, for TLS, amqps://"),
        ("http://localhost", "must begin with amqp://"),
        ("AMQP://localhost", "must begin with amqp://"),
        ("amqp://me:p@ss@broker", "write @ as %40"),
        ("amqp://me:p/ss@broker", "/ as %2F"),
        ("amqp://me:p#ss@broker", "# as %23"),
        ("amqp://me:p?ss@broker", "? as %3F"),
        ("amqp://me:p:ss@broker", ": as %3A"),
        ("amqp://me:p%ss@broker", "% as %25"),
        ("amqp://me:p ss@broker", "a space as %20"),
        ("amqp://me:p[ss@broker", "put the password into a file"),
        ("amqp://me:pässé@broker", "has a character in its user or password"),
        ("amqp://me:%FF@broker", "has a character in its user or password"),
        ("amqp://:secret@broker", "has no user before its password"),
        ("amqp://me:secret", "behind a user and a password there must be a host"),
        ("amqp://broker:99999", "a port that is no number from 1 to 65535"),
        ("amqp://broker:0", "a port that is no number"),
        ("amqp://broker:", "a port that is no number"),
        ("amqp://", "has no host"),
        ("amqp:///x", "has no host"),
        ("amqp://br\u00f6ker", "'xn--' form"),
        ("amqp://[fe80]", "no IPv6 address"),
        ("amqp://broker//", "write a / in the name of the virtual host as %2F"),
        ("amqp://broker/a b", "a character in its virtual host"),
        ("amqp://broker/%FF", "a character in its virtual host"),
        ("amqp://broker/x#y", "has a # in it"),
        ("amqp://broker/?heartbeat=5", "set amqp.heartbeat instead"),
        ("amqp://broker/x?ssl_options={}", "set amqp.ca_file, amqp.cert_file and amqp.key_file instead"),
        ("amqp://broker?a=1&cacertfile=/x", "set amqp.ca_file instead"),
        ("amqp://broker?", "has options after a '?'"),
    ],
)
def test_a_url_that_is_none_is_told_with_the_remedy(url: str, told: str) -> None:
    assert told in fault(url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("broker:15672", "must begin with http:// or https://"),
        ("http://me:p@ss@broker:15672", "has a character in its user or password"),
        ("http://broker:15672/api?x=1", "must end with the host, the port or a path"),
    ],
)
def test_a_management_url_that_is_none_is_told(url: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({"amqp": {"management_url": url}}, environ={})
    assert told in str(caught.value)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_user_and_password_are_taken_once_they_are_escaped(user: str, password: str) -> None:
    url = f"amqp://{quote(user, safe='')}:{quote(password, safe='')}@broker.example.com:5673/team"
    assume(len(url) < 4000)
    parts = urlsplit(urls(url)[0])
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, password)
    assert (parts.hostname, parts.port) == ("broker.example.com", 5673)


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1, max_size=30))
def test_no_password_is_shown_however_it_breaks_the_url(text: str) -> None:
    password = f"HUNTER2{text}HUNTER2"
    for url in (
        f"amqp://me:{password}@broker/x",
        f"amqp://me:{password}@broker",
        f"amqp://me:{password}@broker:5672/x?password={password}",
    ):
        assert "HUNTER2" not in redacted(url)
        try:
            Settings.from_mapping({"amqp": {"url": url}}, environ={})
        except SettingsError as error:
            assert "HUNTER2" not in str(error)  # noqa: PT017 - a good one is no error


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://localhost/", "amqp://localhost/"),
        ("amqp://broker:5672/team", "amqp://broker:5672/team"),
        ("amqp://me:secret@broker:5672/team", "amqp://me:***@broker:5672/team"),
        ("amqp://me@broker/team", "amqp://me@broker/team"),
        ("amqp://me:sec@ret@broker/team", "amqp://me:***@broker/team"),
        ("amqp://me:secret", "amqp://me:***"),
        ("amqp://[::1]:5672", "amqp://[::1]:5672"),
        ("amqp://me:secret@[::1]/x", "amqp://me:***@[::1]/x"),
        ("amqp://me:secret@broker/x?key=secret", "amqp://me:***@broker/x?***"),
        ("amqp://me:sec?ret@broker", "amqp://me:***@***"),
        ("me:secret@broker", "me:***@broker"),
        ("broker", "broker"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert redacted(url) == shown
    assert redacted(shown) == shown
