"""Hosts: the same server as Ollama's own client, and a clear refusal where there is none."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ollama_ext.errors import InvalidArgument
from ollama_ext.hosts import Host, host_from_environment, parse_host

ORACLE = Path(__file__).parent / "data" / "oracles" / "host.json"

# What Ollama v0.33.0-rc2 prints for texts that its own tests leave out: text, Host().String(), and
# ConnectableHost().String() where it differs.
SEEN_IN_GO = [
    # White space is Unicode's, without the ASCII separators that Python strips too.
    ("\u3000h\u2003", "http://h:11434", None),
    ("\x85h", "http://h:11434", None),
    ("\x1ch\x1f", "http://%1Ch%1F:11434", None),
    ("\u200bh\ufeff", "http://%E2%80%8Bh%EF%BB%BF:11434", None),
    # Quotes of both kinds go in one pass, in any mixture, and spaces before and after them.
    ('" h "', "http://h:11434", None),
    ("'\"h\"'", "http://h:11434", None),
    ('"h" "', 'http://h":11434', None),
    (' "ollama.com" ', "https://ollama.com:443", None),
    ("OLLAMA.com", "http://OLLAMA.com:11434", None),
    # An address without a port is printed in its shortest form; with one it stays as written.
    ("::ffff:1.2.3.4", "http://1.2.3.4:11434", None),
    ("[::ffff:1.2.3.4]:80", "http://[::ffff:1.2.3.4]:80", None),
    ("2001:DB8::A", "http://[2001:db8::a]:11434", None),
    ("[2001:DB8::A]:1", "http://[2001:DB8::A]:1", None),
    ("1:0:0:2:0:0:0:3", "http://[1:0:0:2::3]:11434", None),
    ("1:0:2:3:4:5:6:7", "http://[1:0:2:3:4:5:6:7]:11434", None),
    ("::1.2.3.4", "http://[::102:304]:11434", None),
    ("01.2.3.4", "http://01.2.3.4:11434", None),
    # A mapped "every interface" is one of IPv4.
    ("::ffff:0.0.0.0", "http://0.0.0.0:11434", "http://127.0.0.1:11434"),
    ("[::ffff:0:0]:80", "http://[::ffff:0:0]:80", "http://127.0.0.1:80"),
    # Brackets are trimmed from an address, balanced or not, and kept around a name.
    ("[0.0.0.0", "http://0.0.0.0:11434", "http://127.0.0.1:11434"),
    ("[[::1]]", "http://[::1]:11434", None),
    ("[h]", "http://[h]:11434", None),
    ("[h]:80", "http://h:80", None),
    ("[]:80", "http://:80", None),
    ("[::1]x:1", "http://[[::1]x:1]:11434", None),
    # A zone makes a text no address for Go's parser, so brackets and zeros stay.
    ("fe80::1%eth0", "http://[fe80::1%25eth0]:11434", None),
    ("[fe80::1%eth0]", "http://[[fe80::1%25eth0]]:11434", None),
    ("::%eth0", "http://[::%25eth0]:11434", None),
    # Ports: ASCII digits, a sign, any number of zeros.
    ("h:\uff18\uff10", "http://h:11434", None),
    ("h:+80", "http://h:+80", None),
    ("h:-0", "http://h:-0", None),
    ("h:" + "0" * 5000 + "80", "http://h:" + "0" * 5000 + "80", None),
    ("h:" + "9" * 5000, "http://h:11434", None),
    ("h:4_0", "http://h:11434", None),
    ("h: 80", "http://h:11434", None),
    # Paths: only the first slash separates, and a lone asterisk is not escaped.
    ("h//", "http://h:11434/", None),
    ("h//a", "http://h:11434/a", None),
    ("h/%2F?b#c", "http://h:11434/%252F%3Fb%23c", None),
    ("h/*", "http://h:11434/*", None),
    ("h/a*", "http://h:11434/a%2A", None),
    ("h/~$&+,;=:@-_.!'()z", "http://h:11434/~$&+,;=:@-_.%21%27%28%29z", None),
    # Bytes that are not UTF-8, as os.environ has them.
    ("h/\udcff", "http://h:11434/%FF", None),
    ("\udcff://h", "\udcff://h:11434", None),
    ("\udcc2\udc85h", "http://h:11434", None),
    # Parts that look like others.
    ("https", "http://https:11434", None),
    ("http:/h", "http://http:11434/h", None),
    ("a://b://c", "a://b:11434/c", None),
    ("://h", "//h:11434", None),
]

#: DNS has room for 253 bytes.
LONGEST_NAME = ".".join(["a" * 63] * 3 + ["a" * 61])

DIALLED = [
    ("", "http://127.0.0.1:11434"),
    (":1234", "http://127.0.0.1:1234"),
    ("0.0.0.0:8080", "http://127.0.0.1:8080"),
    ("::", "http://[::1]:11434"),
    ("ollama.com", "https://ollama.com:443"),
    ("https://example.com/ollama/", "https://example.com:443/ollama"),
    ("h:+080", "http://h:80"),
    ("h:" + "0" * 5000 + "80", "http://h:80"),
    ("h/a//b/./../c/", "http://h:11434/a/c"),
    ("h/../..", "http://h:11434"),
    ("h//a", "http://h:11434/a"),
    ("h///a", "http://h:11434/a"),
    ("my_service.:1", "http://my_service.:1"),
    ("fe80::1%eth0", "http://[fe80::1%eth0]:11434"),
    ("Bücher.example", "http://xn--bcher-kva.example:11434"),
    ("bü-cher.example", "http://xn--b-cher-3ya.example:11434"),
    ("xn--strae-oqa.de", "http://xn--strae-oqa.de:11434"),
    (LONGEST_NAME, f"http://{LONGEST_NAME}:11434"),
]

REFUSED = [
    ("ftp://x", "scheme"),
    ("HTTP://x", "lower case"),
    ("://x", "scheme"),
    ("unix:///run/ollama.sock", "scheme"),
    ("user@h", "send credentials as a header"),
    ("http://user:pass/word@h", "send credentials as a header"),
    (":0", "port 0"),
    ("a b", "neither an IP address nor a host name"),
    ("http://h?x=1", "neither an IP address nor a host name"),
    ("a..b", "neither an IP address nor a host name"),
    ("h\udcff", "neither an IP address nor a host name"),
    ("a" * 64, "neither an IP address nor a host name"),
    ("xn--zzzzzz", "neither an IP address nor a host name"),
    (LONGEST_NAME + "a", "neither an IP address nor a host name"),
    (".".join(["a" * 50] * 6), "neither an IP address nor a host name"),
    # Two rules of IDNA send these to different hosts.
    ("straße.de", "'xn--' form"),
    ("\uff11\uff12\uff17.0.0.1", "'xn--' form"),
    ("xn--", "neither an IP address nor a host name"),
    ("é\u2603", "neither an IP address nor a host name"),
    ("é-", "neither an IP address nor a host name"),
    ("[h]", "leave the brackets out"),
    ("[h", "leave the brackets out"),
    ("h:1:2", "not an IPv6 address"),
    ("[fe80::1%eth0]", "'[fe80::1%eth0]:11434'"),
    ("fe80::1%e*0", "not an IPv6 address"),
    # A port alone, a typing error, and forms that resolvers read as 127.0.0.1.
    ("11434", "':11434' for a port alone"),
    ("256.1.1.1", "not an IPv4 address"),
    ("0x7f000001", "not an IPv4 address"),
    ("127.0.0.1.", "not an IPv4 address"),
]

# Everything that separates, escapes or confuses, to be put together in any order.
SEPARATORS = ["http://", "https://", "://", ":", "/", "//", "@", "?", "#", ".", '"', "'", " "]
ADDRESSES = ["[", "]", "::", "::1", "::ffff:", "ffff", "1.2.3.4", "127.0.0.1", "%", "%25", "%eth0"]
NUMBERS = ["-", "+", "0", "00", "1", "80", "65535", "65536", "\uff18"]
NAMES = ["localhost", "ollama.com", "h", "a/../b", "*", "_", "xn--", "\xe9", "\xdf", "\u65e5\u672c"]
INVISIBLE = ["\x1f", "\x85", "\u2003", "\u200d", "\u3002", "\udcff"]
PIECES = st.sampled_from([*SEPARATORS, *ADDRESSES, *NUMBERS, *NAMES, *INVISIBLE])
TEXTS = st.one_of(
    st.text(st.characters()),  # lone surrogates too
    st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.lists(PIECES, max_size=8).map("".join),
    st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=6).map("".join),
)

# Texts that can be dialled, put together from parts that Ollama escapes nothing of.
SERVERS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "http://", "https://"]),
    st.one_of(
        st.sampled_from(["", "[]", "localhost", "OLLAMA.com", "a_b.", "[h]", "xn--strae-oqa.de"]),
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map("[{}]".format),
        st.sampled_from(["0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "[0:0::1]"]),  # noqa: S104 -- nothing binds here
    ),
    st.sampled_from([":1", ":080", ":+7", ":65535", ":65536", ":", ":x", ":" + "0" * 5000 + "9"]),
    st.lists(st.sampled_from(["/a", "/b.c", "/.", "/..", "/~$&+,;=:@", "/c//d", "/e/"])).map("".join),
)


def refusal(text: str) -> InvalidArgument | None:
    """Return the error of reading and dialling a text, if there is one."""
    try:
        _ = parse_host(text).dial_url
    except InvalidArgument as error:
        return error
    return None


def test_every_case_of_the_oracle_is_read_as_ollama_reads_it() -> None:
    cases = json.loads(ORACLE.read_text(encoding="utf-8"))
    assert len(cases) > 300
    for case in cases:
        host = parse_host(case["input"])
        assert (case["input"], host.listen, host.connect) == (
            case["input"],
            case["listen"],
            case["connect"],
        )


@pytest.mark.parametrize(("text", "listen", "connect"), SEEN_IN_GO)
def test_odd_texts_are_read_as_ollama_reads_them(text: str, listen: str, connect: str | None) -> None:
    host = parse_host(text)
    assert (host.listen, host.connect) == (listen, connect or listen)


@pytest.mark.parametrize(("text", "url"), DIALLED)
def test_the_dial_url_is_ready_for_a_path(text: str, url: str) -> None:
    assert parse_host(text).dial_url == url


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_cannot_be_dialled_is_refused_with_the_value_and_the_remedy(text: str, words: str) -> None:
    host = parse_host(text)  # reading it is no error: Ollama reads it too
    with pytest.raises(InvalidArgument) as caught:
        _ = host.dial_url
    assert caught.value.argument == "host"
    assert words in caught.value.message
    assert repr(host.given)[:200] in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "http://user:secret@h",
        "http://user:secret@h:1/path",
        "user:secret@h:11434",
        "secret@h",
        "ftp://user:secret@h",
        "http://user:p@secret@h",
        "http://user:pass/secret@h",
        "http://user:p://secret@h",
        "http:/user:secret@h",
        "user:secret@http://h",
        "user:secret@http://user@h",
        "http://user:1/secret@\udcff",
        "\ud800http://user:secret@h",
    ],
)
def test_a_password_is_never_shown(text: str) -> None:
    error = refusal(text)
    if error is not None:
        assert "secret" not in f"{error} {error!r}"
        assert "***@" in error.message
    if "\ud800" not in text:
        host = parse_host(text)
        assert "secret" not in repr(host)
        assert host.userinfo is (error is not None)


def test_an_at_sign_in_a_path_is_no_password() -> None:
    host = parse_host("https://example.com/@team/ollama")
    assert not host.userinfo
    assert host.dial_url == "https://example.com:443/@team/ollama"


def test_a_huge_value_makes_a_short_message() -> None:
    with pytest.raises(InvalidArgument) as caught:
        _ = parse_host("?" * 100_000).dial_url
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("", True),
        (":1", True),
        ("0.0.0.0", True),  # noqa: S104 -- nothing binds here
        ("::", True),
        ("https://[::1]:1", True),
        ("127.8.9.10", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("LocalHost", True),
        ("localhost.:80", True),
        ("[::1%lo]:1", True),
        ("128.0.0.1", False),
        ("::2", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("ollama.com", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(text: str, loopback: bool) -> None:
    assert parse_host(text).is_loopback is loopback


@pytest.mark.parametrize("environ", [{}, {"OLLAMA_HOST": ""}, {"OLLAMA_HOST": '" "'}])
def test_an_environment_without_a_host_means_the_default_server(environ: dict[str, str]) -> None:
    assert host_from_environment(environ).dial_url == "http://127.0.0.1:11434"


def test_the_host_comes_from_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", " 'gpu-07:1234' ")
    host = host_from_environment()
    assert (host.given, host.dial_url) == ("gpu-07:1234", "http://gpu-07:1234")


@pytest.mark.parametrize("value", [None, 11434, b"h", ("h", 1)])
def test_a_host_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match=type(value).__name__) as caught:
        parse_host(value)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] -- the point
    assert caught.value.argument == "host"


def test_a_host_is_a_value() -> None:
    host = parse_host("gpu-07:1234/prefix")
    assert host == parse_host(" gpu-07:1234/prefix ")
    assert len({host, parse_host("gpu-07:1234/prefix"), parse_host("gpu-08")}) == 2
    assert pickle.loads(pickle.dumps(host)) == host  # noqa: S301 -- our own bytes
    assert "gpu-07" in repr(host)
    with pytest.raises(AttributeError):
        host.port = "1"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue] -- the point


def read(text: str) -> Host:
    """Parse a text, or give up on this example if it is one of the few that mean nothing."""
    try:
        return parse_host(text)
    except InvalidArgument:
        assume(condition=False)
        raise


@given(TEXTS)
@example("\ud800")
def test_any_text_is_a_host_or_an_invalid_argument(text: str) -> None:
    try:
        host = parse_host(text)
    except InvalidArgument:
        assert any("\ud800" <= char <= "\udfff" for char in text)
        return
    assert 0 <= int(host.port.lstrip("+-").lstrip("0") or "0") <= 65535
    assert host.is_loopback in {True, False}
    assert repr(host).startswith("Host(")
    assert host.connect.partition("://")[0] == host.listen.partition("://")[0]


@given(TEXTS)
def test_a_dial_url_is_plain_ascii_with_all_its_parts_or_refused(text: str) -> None:
    error = refusal(text)
    if error is not None:
        assert error.argument == "host"
        return
    url = parse_host(text).dial_url
    parts = urlsplit(url)
    assert parts.scheme in {"http", "https"}
    assert parts.hostname
    assert parts.port
    assert (parts.username, parts.password, parts.query, parts.fragment) == (None, None, "", "")
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url
    assert not url.endswith("/")
    assert "//" not in parts.path


@given(SERVERS)
def test_a_dial_url_is_its_own_dial_url(text: str) -> None:
    host = parse_host(text)
    assume(not host.userinfo)  # an @ in the path after a port that is none
    again = parse_host(host.dial_url)
    assert again.dial_url == host.dial_url
    assert again.is_loopback is host.is_loopback


@given(SERVERS)
def test_a_printed_url_without_escapes_is_read_as_itself(text: str) -> None:
    host = parse_host(text)
    assert parse_host(host.connect).connect == host.connect


@given(TEXTS, st.sampled_from([" ", "\t\n", "\u2003", '"', "'\"", '" ', " '"]))
def test_white_space_and_quotes_around_a_value_mean_nothing(text: str, around: str) -> None:
    value = read(text).given
    assume(value == value.strip("\"'"))  # quotes go only once
    assert parse_host(around + value + around[::-1]) == parse_host(value)


@given(st.from_regex(r"\A[a-z]{1,9}:[!-.0-?A-~]{0,9}x@[a-z]{1,9}(:[0-9]{1,4})?\Z"))
def test_credentials_in_any_spelling_are_refused_unseen(text: str) -> None:
    for prefix in ("", "http://", "https://", "ftp://"):
        host = parse_host(prefix + text)
        secret = text.rpartition("@")[0]
        assert host.userinfo
        with pytest.raises(InvalidArgument) as caught:
            _ = host.dial_url
        assert secret not in f"{caught.value} {host!r}"
