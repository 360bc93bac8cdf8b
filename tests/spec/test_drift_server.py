"""The drift check against running servers, and against single answers of theirs."""

from __future__ import annotations

import copy
import json
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from drift.check import check
from drift.document import Document, Node
from drift_runs import OURS, ROOT, Drift, Edit, Tree, assert_one_line, schemas
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DETAILS: Tree = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "134.52M",
    "quantization_level": "Q4_1",
}
# What servers were recorded to answer, with one model where there were more.
VERSION: Tree = {"version": "0.33.0-rc2"}
STATUS: Tree = {"cloud": {"disabled": False, "source": "none"}}
TAGS: Tree = {
    "models": [
        {
            "name": "smollm2:135m",
            "model": "smollm2:135m",
            "modified_at": "2026-11-23T20:12:24.143014469Z",
            "size": 98362823,
            "digest": "d646fdbd53cf33bda192cd2cdcb612ef3c063127753b3ca51986f49bfc016b25",
            "details": {**DETAILS, "context_length": 8192, "embedding_length": 576},
            "capabilities": ["completion"],
        }
    ]
}
PS: Tree = {
    "models": [
        {
            "name": "smollm2:135m",
            "model": "smollm2:135m",
            "size": 135580875,
            "digest": "d646fdbd53cf33bda192cd2cdcb612ef3c063127753b3ca51986f49bfc016b25",
            "details": DETAILS,
            "expires_at": "2026-11-23T20:18:31.700450015Z",
            "size_vram": 0,
            "context_length": 1024,
        }
    ]
}
RECOMMENDATIONS: Tree = {
    "recommendations": [
        {
            "model": "gemma4",
            "description": "Reasoning and code generation locally",
            "vram_bytes": 12000000000,
        }
    ]
}
SHOW: Tree = {
    "license": "Apache-2.0",
    "modelfile": "FROM smollm2:135m\n",
    "parameters": 'temperature                    0\nstop                           "<|im_end|>"',
    "template": "{{ .Prompt }}",
    "system": "You are a helpful assistant.",
    "details": DETAILS,
    "model_info": {"general.architecture": "llama", "general.languages": None},
    "tensors": [{"name": "output_norm.weight", "type": "F32", "shape": [576]}],
    "capabilities": ["completion"],
    "modified_at": "2026-11-23T20:12:24.143014469Z",
}

Answer = tuple[int, str, bytes]


def as_json(body: object, status: int = 200) -> Answer:
    return status, "application/json; charset=utf-8", json.dumps(body).encode()


NOT_FOUND: Answer = (404, "text/plain", b"404 page not found")
WEB_PAGE: Answer = (200, "text/html", b"<!doctype html><title>Welcome</title>")


@dataclass
class Served:
    """An HTTP server on loopback and what it was asked."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    asked: list[str] = field(default_factory=list[str])
    shown: list[object] = field(default_factory=list[object])


@pytest.fixture
def served() -> Iterator[Served]:
    """A server that answers as the recorded 0.33 did, until the test changes it."""
    state = Served(
        answers={
            "GET /": (200, "text/plain; charset=utf-8", b"Ollama is running"),
            "HEAD /": (200, "text/plain; charset=utf-8", b""),
            "GET /api/version": as_json(VERSION),
            "HEAD /api/version": (200, "application/json; charset=utf-8", b""),
            "GET /api/status": as_json(STATUS),
            "GET /api/tags": as_json(TAGS),
            "HEAD /api/tags": (200, "application/json; charset=utf-8", b""),
            "GET /api/ps": as_json(PS),
            "GET /api/experimental/model-recommendations": as_json(RECOMMENDATIONS),
            "POST /api/show": as_json(SHOW),
        }
    )

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            name = f"{self.command} {self.path}"
            state.asked.append(name)
            length = int(self.headers.get("Content-Length", "0"))
            if length:
                state.shown.append(json.loads(self.rfile.read(length)))
            status, content_type, body = state.answers.get(name, NOT_FOUND)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815 (what http.server calls)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its real name)
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_does_as_the_spec_says_is_without_difference(served: Served, drift: Drift) -> None:
    run = drift("--server", served.url, "--json")
    assert (run.new, run.report["known"], run.report["notes"], run.code) == ([], [], [], 0)
    assert run.report["server_version"] == "0.33.0-rc2"


def test_only_routes_that_change_nothing_are_called(served: Served, drift: Drift) -> None:
    drift("--server", served.url)
    assert set(served.asked) == set(served.answers)
    assert served.shown == [{"model": "smollm2:135m"}]


def test_a_server_without_models_is_compared_as_far_as_it_goes(served: Served, drift: Drift) -> None:
    served.answers["GET /api/tags"] = as_json({"models": []})
    served.answers["GET /api/ps"] = as_json({"models": []})
    run = drift("--server", served.url)
    assert run.code == 0
    assert "The server lists no models" in run.out
    assert served.shown == []


def test_the_number_of_models_that_are_shown_has_a_limit(served: Served, drift: Drift) -> None:
    models = [{**TAGS["models"][0], "model": f"m:{number}"} for number in range(3)]
    served.answers["GET /api/tags"] = as_json({"models": models})
    run = drift("--server", served.url, "--max-models", "2")
    assert run.code == 0
    assert "called for 2 of 3 models" in run.out
    assert served.shown == [{"model": "m:0"}, {"model": "m:1"}]


def edited(body: Tree, edit: Edit) -> Answer:
    body = copy.deepcopy(body)
    edit(body)
    return as_json(body)


# Each way in which a server's answer can differ, with what must be reported.
ANSWERS: dict[str, tuple[str, Answer, str]] = {
    "unknown field": (
        "GET /api/version",
        as_json({**VERSION, "commit": "fb3076099"}),
        "GET /api/version response.commit: not in our spec",
    ),
    "unknown field at depth": (
        "GET /api/tags",
        edited(TAGS, lambda t: t["models"][0]["details"].update(license="MIT")),
        "GET /api/tags response.models[].details.license: not in our spec",
    ),
    "unknown field of a model's description": (
        "POST /api/show",
        edited(SHOW, lambda t: t["tensors"][0].update(offset=0)),
        "POST /api/show response.tensors[].offset: not in our spec",
    ),
    "required field missing": (
        "GET /api/ps",
        edited(PS, lambda t: t["models"][0].pop("size_vram")),
        "GET /api/ps response.models[].size_vram: missing, but our spec requires it",
    ),
    "wrong type": (
        "GET /api/tags",
        edited(TAGS, lambda t: t["models"][0].update(size="98 MB")),
        "GET /api/tags response.models[].size: string, but our spec says integer",
    ),
    "wrong type of a free object": (
        "POST /api/show",
        edited(SHOW, lambda t: t.update(model_info=[])),
        "POST /api/show response.model_info: array, but our spec says object",
    ),
    "unexpected null": (
        "GET /api/tags",
        as_json({"models": None}),
        "GET /api/tags response.models: null, but our spec says array",
    ),
    "a list instead of an object": (
        "GET /api/status",
        as_json([STATUS]),
        "GET /api/status response: array, but our spec says object",
    ),
    "route missing": (
        "GET /api/ps",
        NOT_FOUND,
        "GET /api/ps: the server has no such route",
    ),
    "method missing": (
        "HEAD /api/tags",
        (405, "text/plain", b""),
        "HEAD /api/tags: the server has no such route",
    ),
    "web page": (
        "GET /api/ps",
        WEB_PAGE,
        "GET /api/ps: no JSON (text/html)",
    ),
    "other content type": (
        "GET /",
        WEB_PAGE,
        "GET /: text/html instead of text/plain",
    ),
    "failure": (
        "GET /api/tags",
        as_json({"error": "model list cache unavailable"}, 500),
        "GET /api/tags: status 500 instead of 200",
    ),
    "unknown field of an error": (
        "POST /api/show",
        as_json({"error": "gone", "hint": "pull it"}, 404),
        "POST /api/show error.hint: not in our spec",
    ),
}


@pytest.mark.parametrize(("route", "answer", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_the_spec_does_not_describe_is_reported(
    route: str, answer: Answer, expected: str, served: Served, drift: Drift
) -> None:
    served.answers[route] = answer
    run = drift("--server", served.url, "--json")
    assert run.new == [expected]
    assert run.code == 1


def test_what_many_models_have_is_reported_once_with_the_first_as_example(
    served: Served, drift: Drift
) -> None:
    models = [{**TAGS["models"][0], "mood": mood} for mood in ("calm", "wild")]
    served.answers["GET /api/tags"] = as_json({"models": models})
    report = drift("--server", served.url, "--json").report
    assert [new["detail"] for new in report["new"]] == ['string, such as "calm"']


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_names_that_no_terminal_can_show_do_not_stop_the_report(form: list[str], served: Served) -> None:
    served.answers["GET /api/version"] = as_json({**VERSION, "\ud800é": "\udfff"})
    run = subprocess.run(  # noqa: S603 (our own tool)
        [sys.executable, str(ROOT / "spec" / "drift"), "--server", served.url, *form],
        capture_output=True,
        check=False,
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert (run.returncode, run.stderr) == (1, b"")
    assert b"\\ud800\\" in run.stdout
    assert not form or json.loads(run.stdout)["new"][0]["where"] == "GET /api/version response.\ud800é"


def test_null_passes_where_go_sends_it(served: Served, drift: Drift) -> None:
    served.answers["GET /api/tags"] = edited(TAGS, lambda t: t["models"][0]["details"].update(families=None))
    assert drift("--server", served.url).code == 0


def test_a_model_that_cannot_be_shown_is_left_out_and_named(served: Served, drift: Drift) -> None:
    error = {"error": "ollama cloud is disabled: remote model details are unavailable"}
    served.answers["POST /api/show"] = as_json(error, 403)
    run = drift("--server", served.url)
    assert run.code == 0
    assert "/api/show of smollm2:135m failed with status 403 and was left out" in run.out


def test_routes_that_an_old_server_lacks_are_known_with_their_reason(served: Served, drift: Drift) -> None:
    served.answers["GET /api/version"] = as_json({"version": "0.9.6"})
    del served.answers["GET /api/status"]
    del served.answers["GET /api/experimental/model-recommendations"]
    run = drift("--server", served.url, "--json")
    assert run.code == 0
    assert {known["name"]: known["reason"] for known in run.report["known"]} == {
        "GET /api/status: the server has no such route": (
            "The route came with 0.16.2; an older server answers 404 as plain text."
        ),
        "GET /api/experimental/model-recommendations: the server has no such route": (
            "The route came with 0.22.1; an older server answers 404 as plain text."
        ),
    }


@pytest.mark.parametrize("version", ["0.16.2", "0.33.0-rc2", "1.0", "0.0.0", "nightly"])
def test_a_newer_server_that_lacks_a_route_is_reported(version: str, served: Served, drift: Drift) -> None:
    served.answers["GET /api/version"] = as_json({"version": version})
    del served.answers["GET /api/status"]
    run = drift("--server", served.url, "--json")
    assert "GET /api/status: the server has no such route" in run.new
    assert run.code == 1


def test_a_report_about_a_server_says_where_to_edit(served: Served, drift: Drift) -> None:
    served.answers["POST /api/show"] = edited(SHOW, lambda t: t.update(mood="calm"))
    out = drift("--server", served.url).out
    assert f"spec/ollama.yaml compared with {served.url} (Ollama 0.33.0-rc2):" in out
    assert '(string, such as "calm", of model smollm2:135m)' in out
    assert "Add the field to `components.schemas.ShowResponse.properties`" in out


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (WEB_PAGE, "status 200 and text/html"),
        (NOT_FOUND, "status 404 and text/plain"),
        ((200, "application/json", b""), "not with a version in JSON"),
        (as_json([]), "not with a version in JSON"),
        (as_json({"version": 33}), "not with a version in JSON"),
        ((301, "text/html", b""), "status 301"),
    ],
)
def test_what_is_not_an_ollama_server_is_said_in_one_line(
    answer: Answer, reason: str, served: Served, drift: Drift
) -> None:
    served.answers["GET /api/version"] = answer
    assert_one_line(drift("--server", served.url), served.url, "is not an Ollama server", reason)


def test_a_server_that_is_not_there_is_said_in_one_line(drift: Drift) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert_one_line(drift("--server", f"127.0.0.1:{port}"), f":{port}", "does not answer")


def test_a_server_that_never_answers_is_said_in_one_line(drift: Drift) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert_one_line(drift("--server", url, "--timeout", "0.1"), url, "does not answer")


def test_an_answer_without_end_is_said_in_one_line(
    served: Served, drift: Drift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drift.probe._MOST_BYTES", 100)
    assert_one_line(drift("--server", served.url), "the answer to", "does not end")


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1", "http://", "http://[::1", "http://a:b"])
def test_an_address_that_is_none_is_said_in_one_line(url: str, drift: Drift) -> None:
    assert_one_line(drift("--server", url), "is not an address")


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing about proxies and certificates, until the test changes it."""
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/nope"),
        ("HTTP_PROXY", "foo://zoe:secret@proxy"),
        ("HTTP_PROXY", "http://zoe:secret@proxy:bad"),
        ("HTTP_PROXY", "http://zoe:sec/ret@proxy"),
        ("ALL_PROXY", "http://zoe:secret@[::1"),
        ("NO_PROXY", "http://[::1"),
    ],
)
def test_an_environment_that_cannot_be_used_is_said_in_one_line_without_its_passwords(
    name: str, value: str, drift: Drift, no_proxy: pytest.MonkeyPatch
) -> None:
    no_proxy.setenv(name, value)
    run = drift("--server", "http://gpu.test")
    assert_one_line(run, "http://gpu.test: cannot be asked", name)
    assert not any(part in run.err for part in ("zoe", "sec", "ret@"))


def test_a_proxy_that_needs_a_missing_package_is_said_in_one_line(
    drift: Drift, no_proxy: pytest.MonkeyPatch
) -> None:
    no_proxy.setenv("ALL_PROXY", "socks5://zoe:secret@proxy")
    no_proxy.setitem(sys.modules, "socksio", None)
    run = drift("--server", "http://gpu.test")
    assert_one_line(run, "http://gpu.test", "needs a package that is not installed")
    assert "secret" not in run.err


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize("host", [".x", f"{'a' * 64}.test", "a..b"])
def test_a_name_that_cannot_be_looked_up_is_said_in_one_line(host: str, drift: Drift) -> None:
    assert_one_line(drift("--server", f"http://{host}"), f"http://{host}", "empty, too long")


@pytest.mark.parametrize(
    "url",
    [
        "http://zoe:secret@127.0.0.1:1",
        "zoe:secret@127.0.0.1:1",
        "http://zoe:sec/ret@127.0.0.1:1",
        "http://secret@127.0.0.1:1",
        "ftp://zoe:secret@127.0.0.1:1",
        "http://zoe:secret@[::1",
    ],
)
def test_a_password_in_an_address_is_refused_and_shown_nowhere(url: str, drift: Drift) -> None:
    run = drift("--server", url)
    assert_one_line(run, "has a user or a password before an '@'")
    assert not any(part in run.err for part in ("zoe", "sec", "ret@"))


PLACES: dict[str, tuple[Tree, Callable[[Tree], Tree]]] = {
    "ListResponse": (TAGS, lambda t: t),
    "ListModelResponse": (TAGS, lambda t: t["models"][0]),
    "ModelDetails": (PS, lambda t: t["models"][0]["details"]),
    "ShowResponse": (SHOW, lambda t: t),
    "Tensor": (SHOW, lambda t: t["tensors"][0]),
    "CloudStatus": (STATUS, lambda t: t["cloud"]),
}
WHOLE = {id(TAGS): "ListResponse", id(PS): "ProcessResponse"}
WHOLE.update({id(SHOW): "ShowResponse", id(STATUS): "StatusResponse"})


@settings(deadline=None)  # a busy machine is no failure
@given(
    schema=st.sampled_from(sorted(PLACES)),
    name=st.text(),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
)
def test_any_field_that_the_spec_does_not_name_is_found_wherever_it_stands(
    schema: str, name: str, value: object
) -> None:
    if name in schemas(OURS)[schema]["properties"]:
        return
    body, place = PLACES[schema]
    changed = copy.deepcopy(body)
    place(changed)[name] = value
    document = Document(OURS, "ours")
    node = Node({"$ref": f"#/components/schemas/{WHOLE[id(body)]}"}, "")
    assert list(check(document, node, body)) == []
    problems = list(check(document, node, changed))
    assert [problem.what for problem in problems] == ["not in our spec"]
    assert problems[0].path.endswith(f".{name}")
    assert problems[0].home == f"components.schemas.{schema}.properties"


def test_a_value_outside_a_closed_set_is_found() -> None:
    document = Document(OURS, "ours")
    node = Node({"$ref": "#/components/schemas/ThinkOption"}, "")
    assert [problem.what for problem in check(document, node, "hard")] == [
        "a value that our spec does not list"
    ]
    assert list(check(document, node, "high")) == []
    assert list(check(document, node, value=True)) == []


def test_whole_numbers_pass_as_numbers_and_fractions_not_as_integers() -> None:
    document = Document(OURS, "ours")
    embedding = Node({"$ref": "#/components/schemas/Embedding"}, "")
    assert list(check(document, embedding, [0, 1.0, -0.5])) == []
    assert [problem.path for problem in check(document, embedding, [0, "1"])] == ["[]"]
    integer = Node({"type": "integer"}, "here")
    assert list(check(document, integer, 1.0)) == []
    assert [problem.what for problem in check(document, integer, 1.5)] == [
        "number, but our spec says integer"
    ]
