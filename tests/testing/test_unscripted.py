"""What no script covers is answered like the server of the chosen version."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_http import ask, converse, request

from ollama_ext.errors import InvalidArgument
from ollama_ext.testing import VERSIONS, FakeOllama, Headers, RecordedRequest, Recording, recordings
from ollama_ext.testing.catalog import catalog
from ollama_ext.testing.delivery import steps
from ollama_ext.testing.unscripted import Unscripted

if TYPE_CHECKING:
    from collections.abc import Iterator

NEWEST, MIDDLE, OLDEST = VERSIONS
MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather"}}]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, FakeOllama]]:
    """A running server of each version."""
    running = {version: FakeOllama(version).start() for version in VERSIONS}
    yield running
    for each in running.values():
        each.stop()


# -- routes


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unknown_path_is_a_404_in_plain_text(servers: dict[str, FakeOllama], version: str) -> None:
    answer = ask(servers[version].port, "GET", "/api/nope")
    assert (answer.status, answer.body) == (404, b"404 page not found")
    assert sorted(answer.headers) == sorted(Recording("not-found-path", version).exchange.response.headers)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_wrong_method_is_a_405_in_plain_text(servers: dict[str, FakeOllama], version: str) -> None:
    answer = ask(servers[version].port, "GET", "/api/chat")
    assert (answer.status, answer.body) == (405, b"405 method not allowed")
    assert sorted(answer.headers) == sorted(
        Recording("method-not-allowed", version).exchange.response.headers
    )


def test_a_trailing_slash_is_redirected(server: FakeOllama) -> None:
    answer = ask(server.port, "GET", "/api/tags/")
    recorded = Recording("redirect-trailing-slash").exchange.response
    assert (answer.status, answer.body) == (301, recorded.body)
    assert sorted(answer.headers) == sorted(recorded.headers)
    posted = ask(server.port, "POST", "/api/chat/", {})
    assert (posted.status, posted.body) == (307, b"")
    assert ("Location", "/api/chat") in posted.headers
    assert ask(server.port, "GET", "/api/chat/").status == 404


def test_the_oldest_version_has_no_routes_of_the_cloud(servers: dict[str, FakeOllama]) -> None:
    assert ask(servers[OLDEST].port, "GET", "/api/status").body == b"404 page not found"
    assert ask(servers[OLDEST].port, "POST", "/api/me", {}).status == 404
    assert ask(servers[NEWEST].port, "POST", "/api/me", {}).status == 503


# -- lists


@pytest.mark.parametrize("version", VERSIONS)
def test_the_server_tells_its_version(servers: dict[str, FakeOllama], version: str) -> None:
    assert ask(servers[version].port, "GET", "/api/version").json() == {"version": version[1:]}
    assert ask(servers[version].port, "GET", "/").body == b"Ollama is running"
    assert ask(servers[version].port, "HEAD", "/").status == 200


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", ["/api/tags", "/api/ps"])
def test_the_lists_hold_the_recorded_models(servers: dict[str, FakeOllama], path: str, version: str) -> None:
    models = ask(servers[version].port, "GET", path).json()["models"]
    names = {"smollm2:135m", "all-minilm:l6-v2"} | ({"gemma3:270m"} if version == NEWEST else set())
    assert {entry["name"] for entry in models} == names


@pytest.mark.parametrize(
    "exchange",
    [each for each in recordings() if each.request.path == "/api/show" and each.response.status == 200],
    ids=lambda each: f"{each.version}-{each.name}",
)
def test_a_recorded_model_is_shown_as_recorded(servers: dict[str, FakeOllama], exchange: Any) -> None:
    asked = exchange.request.json()["model"]
    port = servers[exchange.version].port
    spellings = [asked, asked.upper(), f"registry.ollama.ai/library/{asked}"]
    if ":" not in asked:
        spellings.append(f"{asked}:latest")
    for model in spellings:
        answer = ask(port, "POST", "/api/show", {"model": model})
        assert answer.body == exchange.response.body


# -- bad bodies


@pytest.mark.parametrize(
    "path", ["/api/show", "/api/chat", "/api/generate", "/api/embed", "/api/pull", "/api/copy"]
)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b"  \n", "missing request body"),
        (b"{", "unexpected EOF"),
        (b"\xff", "unexpected EOF"),
        (b"[1]", "json: cannot unmarshal array into Go value of type api."),
        (b"3", "json: cannot unmarshal number into Go value of type api."),
    ],
)
def test_a_body_without_an_object_is_a_400(server: FakeOllama, path: str, body: bytes, words: str) -> None:
    answer = ask(server.port, "POST", path, body)
    assert answer.status == 400
    assert answer.json()["error"].startswith(words)


def test_keys_match_in_any_case_and_what_follows_the_object_is_ignored(server: FakeOllama) -> None:
    assert ask(server.port, "POST", "/api/show", b'{"MODEL":"smollm2:135m"} x').status == 200


# -- missing models


@pytest.mark.parametrize(
    "exchange",
    [each for each in recordings() if "missing-model" in each.name or "show-missing" in each.name],
    ids=lambda each: f"{each.version}-{each.name}",
)
def test_a_missing_model_is_reported_in_the_words_of_the_endpoint(
    servers: dict[str, FakeOllama], exchange: Any
) -> None:
    port, path = servers[exchange.version].port, exchange.request.path
    fields = exchange.request.json()
    answer = ask(port, "POST", path, fields)
    assert (answer.status, answer.body) == (404, exchange.response.body)
    other = ask(port, "POST", path, {**fields, "model": "me/other:1b"})
    recorded = exchange.response.json()["error"].replace("nope:latest", "nope")
    assert other.json() == {"error": recorded.replace("nope", "me/other:1b")}


@pytest.mark.parametrize("version", VERSIONS)
def test_copy_and_delete_work_on_known_models_only(servers: dict[str, FakeOllama], version: str) -> None:
    port = servers[version].port
    good = {"source": "smollm2:135m", "destination": "b"}
    assert ask(port, "POST", "/api/copy", good).status == 200
    bad = ask(port, "POST", "/api/copy", {"source": "x", "destination": "b"})
    assert (bad.status, bad.json()) == (404, {"error": 'model "x" not found'})
    assert ask(port, "DELETE", "/api/delete", {"model": "smollm2:135m"}).body == b""
    gone = ask(port, "DELETE", "/api/delete", {"name": "x"})
    assert (gone.status, gone.json()) == (404, {"error": "model 'x' not found"})


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/chat", 400, "model is required"),
        ("/api/show", 400, "model is required"),
        ("/api/embeddings", 400, "model is required"),
        ("/api/generate", 404, "model '' not found"),
        ("/api/embed", 404, "model '' not found"),
    ],
)
def test_no_model_at_all_is_reported_in_the_words_of_the_endpoint(
    server: FakeOllama, path: str, status: int, words: str
) -> None:
    answer = ask(server.port, "POST", path, {"model": ""})
    assert (answer.status, answer.json()) == (status, {"error": words})


# -- inference


def _text(lines: list[Any]) -> str:
    return "".join(line["message"]["content"] for line in lines)


def _streamed(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.split(b"\n") if line]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_chat_streams_the_recorded_one(servers: dict[str, FakeOllama], version: str) -> None:
    fields = {"model": "smollm2:135m", "messages": MESSAGES}
    answer = ask(servers[version].port, "POST", "/api/chat", fields)
    recorded = Recording("chat-stream", version).exchange.response
    assert answer.chunks == [chunk.data for chunk in recorded.chunks]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plain_chat_is_the_recorded_one(servers: dict[str, FakeOllama], version: str) -> None:
    fields = {"model": "smollm2:135m", "messages": MESSAGES, "stream": False}
    answer = ask(servers[version].port, "POST", "/api/chat", fields)
    assert answer.body == Recording("chat-nostream", version).exchange.response.body


def test_the_model_is_echoed_as_it_was_asked_for(server: FakeOllama) -> None:
    for stream in (True, False):
        fields = {"model": "Gemma3:270M", "messages": MESSAGES, "stream": stream}
        lines = _streamed(ask(server.port, "POST", "/api/chat", fields).body)
        assert {line["model"] for line in lines} == {"Gemma3:270M"}
        assert lines[-1]["done"] is True


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stream", [True, False])
def test_tools_that_are_offered_are_called_until_a_result_is_given(
    servers: dict[str, FakeOllama], version: str, *, stream: bool
) -> None:
    port = servers[version].port
    fields: dict[str, Any] = {"model": "smol-tools", "messages": MESSAGES, "tools": TOOLS}
    called = _streamed(ask(port, "POST", "/api/chat", {**fields, "stream": stream}).body)
    calls = [call for line in called for call in line["message"].get("tool_calls", [])]
    assert [call["function"]["name"] for call in calls] == ["get_weather"]
    assert called[-1]["done"] is True
    assert (len(called) == 1) is not stream
    fields["messages"] = [*MESSAGES, {"role": "tool", "content": "sunny"}]
    after = _streamed(ask(port, "POST", "/api/chat", {**fields, "stream": stream}).body)
    assert not any("tool_calls" in line["message"] for line in after)
    assert _text(after)


@pytest.mark.parametrize("stream", [True, False])
def test_a_thinking_model_thinks_unless_told_not_to(server: FakeOllama, *, stream: bool) -> None:
    fields = {"model": "smol-think", "messages": MESSAGES, "stream": stream}
    for think, thinks in ((None, True), (True, True), (False, False)):
        answer = ask(server.port, "POST", "/api/chat", {**fields, "think": think})
        lines = _streamed(answer.body)
        assert any(line["message"].get("thinking") for line in lines) is thinks
        assert _text(lines)


def test_a_plain_reply_that_was_only_streamed_is_the_stream_joined(server: FakeOllama) -> None:
    fields = {"model": "smollm2:135m", "messages": MESSAGES, "format": "json"}
    lines = _streamed(ask(server.port, "POST", "/api/chat", fields).body)
    plain = ask(server.port, "POST", "/api/chat", {**fields, "stream": False}).json()
    assert plain["message"] == {"role": "assistant", "content": _text(lines)}
    assert plain["eval_count"] == lines[-1]["eval_count"]


def test_log_probabilities_are_given_when_asked_for(server: FakeOllama) -> None:
    fields = {"model": "smollm2:135m", "messages": MESSAGES, "logprobs": True}
    assert "logprobs" in _streamed(ask(server.port, "POST", "/api/chat", fields).body)[0]
    plain = ask(server.port, "POST", "/api/chat", {**fields, "stream": False}).json()
    assert len(plain["logprobs"]) > 1


@pytest.mark.parametrize(
    ("path", "fields", "name"),
    [
        ("/api/chat", {"messages": MESSAGES, "tools": TOOLS}, "chat-tools-unsupported"),
        ("/api/chat", {"messages": MESSAGES, "think": True}, "chat-think-unsupported"),
        ("/api/chat", {"messages": MESSAGES, "top_logprobs": 21}, "chat-top-logprobs-range"),
        ("/api/chat", {"messages": [{"content": [{}]}]}, "chat-content-array"),
        ("/api/chat", {"messages": [{"images": ["aGk="]}]}, "chat-images-unsupported"),
        ("/api/generate", {"prompt": "x", "suffix": "y"}, "generate-suffix-unsupported"),
        ("/api/generate", {"prompt": "x", "raw": True, "system": "s"}, "generate-raw-with-system"),
        ("/api/generate", {"prompt": "x", "think": "high"}, "chat-think-unsupported"),
    ],
)
def test_what_a_model_cannot_do_is_refused_in_the_recorded_words(
    server: FakeOllama, path: str, fields: dict[str, Any], name: str
) -> None:
    answer = ask(server.port, "POST", path, {"model": "smollm2:135m", **fields})
    recorded = Recording(name).exchange.response
    assert (answer.status, answer.body) == (recorded.status, recorded.body)
    other = ask(server.port, "POST", path, {"model": "gemma3:270m", **fields})
    assert other.status == recorded.status
    assert "smollm2" not in other.json()["error"]


def test_an_embedding_model_does_not_talk(server: FakeOllama) -> None:
    chat = {"model": "all-minilm:l6-v2", "messages": MESSAGES}
    assert (
        ask(server.port, "POST", "/api/chat", chat).body
        == Recording("chat-embedding-model").exchange.response.body
    )
    generate = {"model": "all-minilm:l6-v2", "prompt": "x"}
    assert ask(server.port, "POST", "/api/generate", generate).json() == {
        "error": '"all-minilm:l6-v2" does not support generate'
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("path", "fields", "reason"),
    [
        ("/api/chat", {"messages": []}, "load"),
        ("/api/chat", {}, "load"),
        ("/api/chat", {"messages": [], "keep_alive": 0}, "unload"),
        ("/api/generate", {}, "load"),
        ("/api/generate", {"prompt": "", "keep_alive": 0}, "unload"),
    ],
)
def test_a_request_without_a_prompt_loads_or_unloads(
    servers: dict[str, FakeOllama], version: str, path: str, fields: dict[str, Any], reason: str
) -> None:
    answer = ask(servers[version].port, "POST", path, {"model": "smollm2:135m", **fields})
    assert answer.json()["done_reason"] == reason
    assert answer.json()["model"] == "smollm2:135m"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_is_answered(servers: dict[str, FakeOllama], version: str, *, stream: bool) -> None:
    fields = {"model": "smollm2:135m", "prompt": "Say hello.", "stream": stream}
    answer = ask(servers[version].port, "POST", "/api/generate", fields)
    name = "generate-stream" if stream else "generate-nostream"
    assert answer.body == Recording(name, version).exchange.response.body


def test_a_raw_prompt_a_thinking_prompt_and_a_rendered_one_have_their_own_answers(
    server: FakeOllama,
) -> None:
    cases: dict[str, dict[str, Any]] = {
        "generate-raw": {"model": "gemma3:270m", "raw": True},
        "generate-stream-thinking": {"model": "smol-think"},
        "generate-debug-render": {"model": "smollm2:135m", "_debug_render_only": True},
    }
    for name, fields in cases.items():
        answer = ask(server.port, "POST", "/api/generate", {"prompt": "x", **fields})
        assert answer.body == Recording(name).exchange.response.body
    plain = {"model": "gemma3:270m", "raw": True, "prompt": "x", "stream": False}
    lines = Recording("generate-raw").exchange.response.lines()
    assert ask(server.port, "POST", "/api/generate", plain).json()["response"] == "".join(
        line["response"] for line in lines
    )


# -- embeddings


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("texts", "count"), [("a", 1), (["a"], 1), (["a"] * 7, 7), ([], 0)])
def test_there_are_as_many_vectors_as_texts(
    servers: dict[str, FakeOllama], version: str, texts: Any, count: int
) -> None:
    fields = {"model": "all-minilm:l6-v2", "input": texts}
    vectors = ask(servers[version].port, "POST", "/api/embed", fields).json()["embeddings"]
    assert len(vectors) == len({tuple(vector) for vector in vectors}) == count
    for vector in vectors:
        assert sum(value * value for value in vector) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_embed_request_gets_the_recorded_vectors(
    servers: dict[str, FakeOllama], version: str
) -> None:
    exchange = Recording("embed-many", version).exchange
    answer = ask(servers[version].port, "POST", "/api/embed", exchange.request.json())
    assert answer.body == exchange.response.body


@pytest.mark.parametrize(("version", "size"), [(NEWEST, 5), (MIDDLE, 5), (OLDEST, 384)])
def test_vectors_have_the_dimensions_asked_for_where_the_version_knows_the_field(
    servers: dict[str, FakeOllama], version: str, size: int
) -> None:
    fields = {"model": "all-minilm:l6-v2", "input": ["x", "y"], "dimensions": 5}
    vectors = ask(servers[version].port, "POST", "/api/embed", fields).json()["embeddings"]
    assert [len(vector) for vector in vectors] == [size, size]
    assert sum(value * value for value in vectors[0]) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("value", [3, {"a": 1}, [1], [["a"]]])
def test_what_cannot_be_embedded_is_refused(server: FakeOllama, value: object) -> None:
    answer = ask(server.port, "POST", "/api/embed", {"model": "all-minilm:l6-v2", "input": value})
    assert (answer.status, answer.json()) == (400, {"error": "invalid input type"})


def test_legacy_embeddings_are_the_recorded_ones(server: FakeOllama) -> None:
    fields = {"model": "all-minilm:l6-v2", "prompt": "x"}
    answer = ask(server.port, "POST", "/api/embeddings", fields)
    assert answer.body == Recording("embeddings-legacy").exchange.response.body
    empty = ask(server.port, "POST", "/api/embeddings", {**fields, "prompt": ""})
    assert empty.json() == {"embedding": []}


# -- blobs and the rest


def test_a_blob_is_missing_until_it_is_pushed(server: FakeOllama) -> None:
    content = b"weights"
    path = f"/api/blobs/sha256:{hashlib.sha256(content).hexdigest()}"
    assert ask(server.port, "HEAD", path).status == 404
    assert ask(server.port, "POST", path, content).status == 201
    assert ask(server.port, "POST", path, content).status == 200
    assert ask(server.port, "HEAD", path).status == 200
    assert ask(server.port, "HEAD", path.replace("sha256:", "sha256-")).status == 200


def test_a_wrong_digest_is_refused_in_the_recorded_words(server: FakeOllama) -> None:
    recorded = Recording("blob-push-wrong-digest").exchange
    answer = ask(server.port, "POST", recorded.request.path, b"hello")
    assert (answer.status, answer.body) == (400, recorded.response.body)
    wrong = "sha256:" + "1" * 64
    other = ask(server.port, "POST", f"/api/blobs/{wrong}", b"x").json()["error"]
    true = hashlib.sha256(b"x").hexdigest()
    assert other == f'digest mismatch, expected "{wrong}", got "sha256:{true}"'


def test_what_is_no_digest_is_refused(server: FakeOllama) -> None:
    assert ask(server.port, "HEAD", "/api/blobs/sha256:xyz").status == 400
    answer = ask(server.port, "POST", "/api/blobs/sha256:xyz", b"x")
    assert (answer.status, answer.json()) == (400, {"error": "invalid digest format"})


@pytest.mark.parametrize("name", ["pull-offline", "create-gguf-stream", "push-missing"])
def test_a_recorded_request_of_any_other_kind_gets_its_answer(server: FakeOllama, name: str) -> None:
    exchange = Recording(name).exchange
    answer = ask(server.port, "POST", exchange.request.path, exchange.request.json())
    assert answer.body == exchange.response.body


def test_where_nothing_is_recorded_the_answer_says_what_to_script(server: FakeOllama) -> None:
    answer = ask(server.port, "POST", "/api/pull", {"model": "mistral"})
    assert answer.status == 501
    assert "POST /api/pull for model 'mistral'" in answer.json()["error"]
    assert 'server.on("POST", "/api/pull", ...)' in answer.json()["error"]


def test_every_recorded_request_is_answered_without_a_crash(
    servers: dict[str, FakeOllama],
) -> None:
    for exchange in recordings():
        sent = request(
            exchange.request.method,
            exchange.request.path,
            exchange.request.body or None,
            {"Connection": "close"},
        )
        answer = converse(servers[exchange.version].port, sent).answer(exchange.request.method)
        assert answer.status < 600


# -- anything at all

_ROUTES = ["show", "chat", "generate", "embed", "embeddings", "pull", "push", "create", "copy"]
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("tool"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["smollm2:135m", "smol-tools", "smol-think", "all-minilm:l6-v2"])
        | st.text(st.characters(), max_size=4)
        | _VALUES,
        "messages": st.lists(
            st.fixed_dictionaries({}, optional={"role": _VALUES, "content": _VALUES, "images": _VALUES}),
            max_size=3,
        )
        | _VALUES,
        **dict.fromkeys(
            (
                "stream",
                "tools",
                "think",
                "format",
                "logprobs",
                "top_logprobs",
                "prompt",
                "raw",
                "suffix",
                "system",
                "keep_alive",
                "input",
                "dimensions",
                "source",
                "_debug_render_only",
            ),
            _VALUES,
        ),
    },
)


def _request(method: str, path: str, body: bytes) -> RecordedRequest:
    return RecordedRequest(
        method=method,
        path=path,
        query="",
        headers=Headers(()),
        body=body,
        body_size=len(body),
        body_sha256=hashlib.sha256(body).hexdigest(),
        complete=True,
        connection=1,
    )


@given(st.sampled_from(VERSIONS), st.sampled_from(_ROUTES), _FIELDS)
def test_any_fields_get_an_answer(version: str, route: str, fields: dict[str, Any]) -> None:
    sent = _request("POST", f"/api/{route}", json.dumps(fields).encode())
    assert list(steps(Unscripted(catalog(version)).answer(sent)))


@given(st.sampled_from(VERSIONS), st.sampled_from(_ROUTES), st.binary(max_size=20))
def test_any_bytes_get_an_answer(version: str, route: str, body: bytes) -> None:
    sent = _request("POST", f"/api/{route}", body)
    assert list(steps(Unscripted(catalog(version)).answer(sent)))


@given(
    st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS", "PRI"]),
    st.lists(st.sampled_from(["api", "blobs", "tags", "user", "keys", "v1", "", "x\xff"])).map("/".join),
)
def test_any_path_gets_an_answer(method: str, path: str) -> None:
    sent = _request(method, f"/{path}", b"")
    answer = Unscripted(catalog(NEWEST)).answer(sent)
    assert list(steps(answer, method=method))


# -- aliases


def test_a_known_model_answers_for_another_name_and_is_called_by_it() -> None:
    with FakeOllama(aliases={"llama3.2": "smol-tools"}) as server:
        chat = {"model": "llama3.2:latest", "messages": MESSAGES, "tools": TOOLS, "stream": False}
        answered = ask(server.port, "POST", "/api/chat", json.dumps(chat).encode())
        shown = ask(server.port, "POST", "/api/show", b'{"model": "LLAMA3.2"}')

    reply = json.loads(answered.body)
    assert reply["model"] == "llama3.2:latest"
    assert reply["message"]["tool_calls"]
    assert "tools" in json.loads(shown.body)["capabilities"]


def test_an_alias_of_a_model_that_was_not_recorded_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"'mistral'.*smollm2:135m") as caught:
        FakeOllama(aliases={"llama3.2": "mistral"})

    assert caught.value.argument == "aliases"
