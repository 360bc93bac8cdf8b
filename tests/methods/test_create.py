"""Creating models: what is uploaded, what is sent, and the progress of both."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scripts import CREATE, STEPS

from ollama_ext import (
    BadRequest,
    Client,
    ConnectionFailed,
    InvalidArgument,
    Message,
    ModelNotFound,
    Progress,
    Retry,
    RetryPolicy,
    ServerError,
    StreamError,
    StreamTruncated,
)
from ollama_ext.testing import FakeOllama, Json, Lines, Raw, Recording, no_wait

if TYPE_CHECKING:
    from ollama_ext.testing import RecordedRequest

pytestmark = pytest.mark.usefixtures("nothing_left_open")

WEIGHTS = b"GGUF\x03\x00\x00\x00" + bytes(2_000_000)
LORA = b"GGUF\x03\x00\x00\x00lora\x00"
DRAFT = b"GGUF\x03\x00\x00\x00draft\x00"
CUT = STEPS.cut(len(STEPS.pieces[0]) + 5, "reset")
THERE = f"sha256:{'1' * 64}"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def server() -> Any:
    """Run a server that creates whatever is asked for."""
    with FakeOllama() as running:
        running.on("POST", CREATE, STEPS)
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a directory with weights of several kinds."""
    (tmp_path / "weights.gguf").write_bytes(WEIGHTS)
    (tmp_path / "lora.gguf").write_bytes(LORA)
    (tmp_path / "draft.gguf").write_bytes(DRAFT)
    tensors = tmp_path / "tensors"
    tensors.mkdir()
    (tensors / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    (tensors / "config.json").write_text('{"architectures": []}')
    (tensors / "notes.txt").write_text("not for the model")
    return tmp_path


def created(server: FakeOllama) -> dict[str, Any]:
    """Return the body of the last create."""
    body: dict[str, Any] = next(each for each in reversed(server.requests) if each.path == CREATE).json()
    return body


def run(client: Client, method: str, **given: Any) -> None:
    """Create a model; a stream is read to its end."""
    outcome = getattr(client, method)("m", **given)
    if method.endswith("_stream"):
        outcome.finish()


def uploads(server: FakeOllama, method: str = "POST") -> list[RecordedRequest]:
    return [each for each in server.requests if each.method == method and each.path.startswith("/api/blobs/")]


# -- from what


def test_a_model_is_made_from_another_one(server: FakeOllama, client: Client) -> None:
    client.create_model("m", "n")
    client.create_model("m", from_="n")
    client.create_model(model="m", from_="n", system=None, files=None, modelfile=None)
    assert [each.json() for each in server.requests] == [{"model": "m", "from": "n", "stream": True}] * 3


def test_a_gguf_file_is_uploaded_and_named_by_its_digest(
    server: FakeOllama, client: Client, place: Path
) -> None:
    client.create_model("m", files=place / "weights.gguf")
    asked, sent, create = server.requests
    assert (asked.method, sent.method, create.path) == ("HEAD", "POST", CREATE)
    assert asked.path == sent.path == f"/api/blobs/{digest_of(WEIGHTS)}"
    assert f"sha256:{sent.body_sha256}" == digest_of(WEIGHTS)
    assert sent.headers["content-length"] == str(len(WEIGHTS))
    assert create.json() == {
        "model": "m",
        "files": {"weights.gguf": digest_of(WEIGHTS)},
        "stream": True,
    }
    assert server.connections == 1


def test_of_a_directory_the_files_of_the_model_are_uploaded(
    server: FakeOllama, client: Client, place: Path
) -> None:
    client.create_model("m", files=place / "tensors")
    expected = {
        name: digest_of((place / "tensors" / name).read_bytes())
        for name in ("model.safetensors", "config.json")
    }
    assert created(server)["files"] == expected
    assert {each.path.rpartition("/")[2] for each in uploads(server)} == set(expected.values())


def test_names_may_be_given_and_digests_of_blobs_that_the_server_has(
    server: FakeOllama, client: Client, place: Path
) -> None:
    client.create_model("m", files={"a/b.gguf": place / "weights.gguf", "c.gguf": THERE})
    assert created(server)["files"] == {"a/b.gguf": digest_of(WEIGHTS), "c.gguf": THERE}
    assert [each.path for each in uploads(server, "HEAD")] == [f"/api/blobs/{digest_of(WEIGHTS)}"]
    assert len(uploads(server)) == 1
    server_requests = len(server.requests)
    client.create_model("m", files={"c.gguf": THERE})
    assert len(server.requests) == server_requests + 1  # nothing was asked about the digest


def test_adapters_and_drafts_are_uploaded_too(server: FakeOllama, client: Client, place: Path) -> None:
    client.create_model("m", "n", adapters=place / "lora.gguf", draft_files={"d.gguf": place / "draft.gguf"})
    assert created(server) == {
        "model": "m",
        "from": "n",
        "adapters": {"lora.gguf": digest_of(LORA)},
        "draft_files": {"d.gguf": digest_of(DRAFT)},
        "stream": True,
    }
    assert len(uploads(server)) == 2


def test_only_what_the_server_lacks_is_uploaded(server: FakeOllama, client: Client, place: Path) -> None:
    client.push_blob(None, LORA)
    client.create_model("m", files=place / "weights.gguf", adapters=place / "lora.gguf")
    client.create_model("m2", files=place / "weights.gguf", adapters=place / "lora.gguf")
    assert [each.path.rpartition("/")[2] for each in uploads(server)] == [digest_of(LORA), digest_of(WEIGHTS)]
    assert created(server)["model"] == "m2"


def test_the_same_content_under_two_names_is_uploaded_once(
    server: FakeOllama, client: Client, place: Path
) -> None:
    (place / "same.gguf").write_bytes(LORA)
    client.create_model("m", files={"a.gguf": place / "lora.gguf", "b.gguf": place / "same.gguf"})
    assert created(server)["files"] == {"a.gguf": digest_of(LORA), "b.gguf": digest_of(LORA)}
    assert len(uploads(server)) == 1


# -- modelfiles


MODELFILE = """\
FROM ./weights.gguf
ADAPTER lora.gguf
PARAMETER temperature 0.5
PARAMETER stop a
PARAMETER stop b
SYSTEM be brief
LICENSE MIT
MESSAGE user hi
"""
FROM_MODELFILE = {
    "model": "m",
    "files": {"weights.gguf": digest_of(WEIGHTS)},
    "adapters": {"lora.gguf": digest_of(LORA)},
    "parameters": {"temperature": 0.5, "stop": ["a", "b"]},
    "system": "be brief",
    "license": ["MIT"],
    "messages": [{"role": "user", "content": "hi"}],
    "stream": True,
}


@pytest.mark.parametrize("kind", ["path", "text"])
def test_a_modelfile_may_be_a_path_or_text(
    server: FakeOllama, client: Client, place: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    modelfile: Path | str = MODELFILE
    if kind == "path":  # its paths start where it is
        modelfile = place / "Modelfile"
        modelfile.write_text(MODELFILE)
    else:  # those of text where we are
        monkeypatch.chdir(place)
    client.create_model("m", modelfile=modelfile)
    assert created(server) == FROM_MODELFILE
    assert len(uploads(server)) == 2


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"system": "other"}, {"system": "other"}),
        ({"parameters": {"seed": 1}}, {"parameters": {"seed": 1}}),
        ({"license": "Apache-2.0"}, {"license": "Apache-2.0"}),
        ({"messages": []}, {"messages": []}),
        ({"template": "{{ .Prompt }}"}, {"template": "{{ .Prompt }}"}),
        ({"adapters": {"x.gguf": THERE}}, {"adapters": {"x.gguf": THERE}}),
        ({"files": {"x.gguf": THERE}}, {"files": {"x.gguf": THERE}}),
        ({"from_": "n"}, {"from": "n", "files": None}),  # in place of its FROM
        ({"from_": "n", "files": {"x.gguf": THERE}}, {"from": "n", "files": {"x.gguf": THERE}}),
    ],
)
def test_arguments_win_over_the_modelfile(
    server: FakeOllama, client: Client, place: Path, given: dict[str, Any], changed: dict[str, Any]
) -> None:
    modelfile = place / "Modelfile"
    modelfile.write_text(MODELFILE)
    client.create_model("m", modelfile=modelfile, **given)
    expected = {name: value for name, value in {**FROM_MODELFILE, **changed}.items() if value is not None}
    assert created(server) == expected


def test_files_win_over_a_model_that_the_modelfile_names(server: FakeOllama, client: Client) -> None:
    client.create_model("m", modelfile="FROM llama3.2", files={"x.gguf": THERE})
    assert created(server) == {"model": "m", "files": {"x.gguf": THERE}, "stream": True}


# -- the other fields


def test_every_argument_arrives_under_the_name_of_the_api(server: FakeOllama, client: Client) -> None:
    client.create_model(
        "m",
        "n",
        quantize="q4_K_M",
        draft_files={"d.gguf": THERE},
        draft_quantize="q8_0",
        template="t",
        license=["a", "b"],
        system="s",
        parameters={"stop": ["x"], "num_ctx": 8192},
        messages=[{"role": "user", "content": "hi"}, Message(role="assistant", content="ho")],
        renderer="r",
        parser="p",
        requires="0.14.0",
        info={"capabilities": ["tools"], "context_length": 4096},
        remote_host="https://ollama.com:443",
        extra_body={"newer": [1]},
    )
    assert created(server) == {
        "model": "m",
        "from": "n",
        "quantize": "q4_K_M",
        "draft_files": {"d.gguf": THERE},
        "draft_quantize": "q8_0",
        "template": "t",
        "license": ["a", "b"],
        "system": "s",
        "parameters": {"stop": ["x"], "num_ctx": 8192},
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
        "renderer": "r",
        "parser": "p",
        "requires": "0.14.0",
        "info": {"capabilities": ["tools"], "context_length": 4096},
        "remote_host": "https://ollama.com:443",
        "newer": [1],
        "stream": True,
    }


def test_extra_body_wins_over_the_arguments_and_may_name_the_source(
    server: FakeOllama, client: Client
) -> None:
    client.create_model("m", "n", system="a", extra_body={"system": "b"})
    assert created(server) == {"model": "m", "from": "n", "system": "b", "stream": True}
    client.create_model("m", extra_body={"from": "n"})
    assert created(server) == {"model": "m", "from": "n", "stream": True}


def test_extra_headers_go_with_every_request_of_a_create(
    server: FakeOllama, client: Client, place: Path
) -> None:
    client.create_model("m", files=place / "lora.gguf", extra_headers={"X-A": "1"})
    client.create_model_stream("m", files=place / "lora.gguf", extra_headers={"X-A": "1"}).finish()
    assert len(server.requests) == 5
    assert {each.headers["x-a"] for each in server.requests} == {"1"}


# -- what is refused


@pytest.mark.parametrize(
    ("given", "argument", "words"),
    [
        ({}, "from_", "nothing to create a model from"),
        ({"files": {}}, "from_", "nothing to create a model from"),
        ({"system": "x"}, "from_", "nothing to create a model from"),
        ({"adapters": {"a.gguf": THERE}}, "from_", "nothing to create a model from"),
        ({"modelfile": "SYSTEM x"}, "modelfile", "FROM"),
        ({"modelfile": "FROM n\nBAKE x"}, "modelfile", "BAKE|bake"),
        ({"modelfile": "Modelfile"}, "modelfile", "pathlib.Path"),
        ({"modelfile": 5}, "modelfile", "pathlib.Path"),
        ({"modelfile": Path("/no/such/Modelfile")}, "modelfile", "/no/such/Modelfile"),
        ({"files": Path("/no/such.gguf")}, "files", "/no/such.gguf"),
        ({"files": "weights.gguf"}, "files", "pathlib.Path"),
        ({"files": {"x.gguf": "sha256:1"}}, "files", "sha256:1"),
        ({"files": {"../x.gguf": THERE}}, "files", "x.gguf"),
        ({"from_": "n", "adapters": Path("/no/such.gguf")}, "adapters", "/no/such.gguf"),
        ({"from_": "n", "draft_files": {"x.gguf": Path("/no/such.gguf")}}, "draft_files", "/no/such.gguf"),
        ({"from_": 5}, "from_", "from"),
        ({"from_": "n", "quantize": 4}, "quantize", "quantize"),
        ({"from_": "n", "license": [5]}, "license", "license"),
        ({"from_": "n", "messages": "a", "system": 5}, "system", "system"),
        ({"from_": "n", "messages": {"role": "user"}}, "messages", "messages"),
        ({"from_": "n", "info": {"capabilities": "tools"}}, "info", "info"),
        ({"from_": "n", "parameters": {"a": {1}}}, "parameters", "parameters"),
        ({"from_": "n", "extra_body": {"stream": False}}, "extra_body", "stream"),
        ({"model": "", "from_": "n"}, "model", "model is empty"),
        ({"model": 5, "from_": "n"}, "model", "model must be a string"),
    ],
)
def test_what_cannot_be_created_is_refused_before_anything_is_sent(
    server: FakeOllama, client: Client, given: dict[str, Any], argument: str, words: str
) -> None:
    arguments: dict[str, Any] = {"model": "m", **given}
    for create in (client.create_model, client.create_model_stream):
        with pytest.raises(InvalidArgument, match=words) as caught:
            create(**arguments)
        assert caught.value.argument == argument
    assert server.connections == 0


@pytest.mark.parametrize("method", ["create_model", "create_model_stream"])
def test_an_argument_that_nobody_knows_is_named(server: FakeOllama, client: Client, method: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'sytem'"):
        getattr(client, method)("m", "n", sytem="x")
    assert server.connections == 0


@pytest.mark.parametrize("method", ["create_model", "create_model_stream"])
def test_a_file_that_changes_after_it_was_hashed_makes_no_model(
    server: FakeOllama, client: Client, place: Path, method: str
) -> None:
    path = place / "weights.gguf"
    blob = f"/api/blobs/{digest_of(WEIGHTS)}"
    server.on("HEAD", blob, Json({"error": "busy"}, 503), Recording("blob-head-missing"))

    def change(_retry: Retry) -> None:  # between the hashing and the sending
        path.write_bytes(b"GGUF")

    with no_wait(), pytest.raises(InvalidArgument, match="changed since it was opened") as caught:
        run(client, method, files=path, retry=RetryPolicy(on_retry=change))
    assert caught.value.argument == "files"
    assert not server.wait_for_disconnect().complete
    assert CREATE not in {each.path for each in server.requests}


# -- trying again


def test_a_create_that_breaks_is_made_again_without_uploading_again(
    server: FakeOllama, client: Client, place: Path
) -> None:
    server.on("POST", CREATE, CUT, Raw(b""), Json({"error": "busy"}, 503), STEPS)
    with no_wait():
        client.create_model("m", files=place / "weights.gguf")
    bodies = [each.body for each in server.requests if each.path == CREATE]
    assert bodies == [bodies[0]] * 4
    assert len(uploads(server)) == len(uploads(server, "HEAD")) == 1


@pytest.mark.parametrize("method", ["create_model", "create_model_stream"])
@pytest.mark.parametrize(
    ("given", "tries"),
    [
        ({"from_": "m", "license": "MIT"}, 1),  # a second run adds the licence a second time
        ({"modelfile": "FROM m\nLICENSE MIT"}, 1),
        ({"from_": "m"}, 2),
        ({"from_": "m", "license": []}, 2),
        ({"from_": "n", "license": "MIT"}, 2),
        ({"files": {"x.gguf": THERE}, "license": "MIT"}, 2),
    ],
)
def test_a_create_that_would_add_its_licence_twice_is_not_made_again(
    server: FakeOllama, client: Client, method: str, given: dict[str, Any], tries: int
) -> None:
    server.on("POST", CREATE, Raw(b""), STEPS)

    with no_wait():
        if tries == 1:
            with pytest.raises(ConnectionFailed):
                run(client, method, **given)
        else:
            run(client, method, **given)
    assert len(server.requests) == tries


def test_a_create_that_would_add_its_licence_twice_is_made_again_if_it_never_began(
    server: FakeOllama, client: Client
) -> None:
    server.on("POST", CREATE, Json({"error": "busy"}, 503), STEPS)
    with no_wait():
        client.create_model("m", "m", license="MIT")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("create-bad-name", BadRequest, "invalid model name"),
        ("create-bad-template", BadRequest, "unclosed action"),
        ("create-quantize", ServerError, "F16, BF16 and F32"),
        ("create-missing-blob", StreamError, "no such file"),
    ],
)
def test_what_the_server_refuses_is_raised_and_not_asked_for_again(
    server: FakeOllama, client: Client, name: str, error: type[Exception], words: str
) -> None:
    server.on("POST", CREATE, Recording(name))
    with no_wait(), pytest.raises(error, match=words):
        client.create_model("m", "n")
    assert len(server.requests) == 1


def test_a_source_that_no_registry_has_is_not_found(server: FakeOllama, client: Client) -> None:
    server.on(
        "POST",
        CREATE,
        Lines({"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}),
    )
    with no_wait(), pytest.raises(ModelNotFound, match="from_"):
        client.create_model("m", "nope")
    assert len(server.requests) == 1


def test_the_success_of_a_pull_inside_a_create_is_not_that_of_the_create(
    server: FakeOllama, client: Client
) -> None:
    server.on("POST", CREATE, Lines({"status": "pulling manifest"}, {"status": "success"}))
    with no_wait(), pytest.raises(StreamTruncated):
        client.create_model("m", "n")
    server.on(
        "POST",
        CREATE,
        Lines(
            {"status": "pulling manifest"},
            {"status": "success"},
            {"status": "writing"},
            {"status": "success"},
        ),
    )
    steps = list(client.create_model_stream("m", "n"))
    assert [step.overall.fraction for step in steps] == [0.0, 0.0, 0.0, 1.0]


# -- progress


def test_a_stream_tells_of_the_hashing_then_of_the_uploads_then_of_the_server(
    client: Client, place: Path
) -> None:
    client.push_blob(None, LORA)
    with client.create_model_stream(
        "m", files=place / "weights.gguf", adapters=place / "lora.gguf"
    ) as stream:
        steps: list[Progress] = list(stream)
        assert stream.progress == steps[-1]
    seen = list(dict.fromkeys(step.status for step in steps))
    assert seen == ["hashing", "uploading", "preparing", "moving aa", "success"]
    uploading = [step for step in steps if step.status == "uploading"]
    # Both are told of before the first byte is sent, so that the fraction knows of both.
    assert [(step.digest, step.completed) for step in uploading[:2]] == [
        (digest_of(WEIGHTS), 0),
        (digest_of(LORA), 0),
    ]
    assert uploading[1].overall.total == len(WEIGHTS) + len(LORA)
    assert uploading[-1].overall.completed == len(WEIGHTS) + len(LORA)
    fractions = [step.overall.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert 1.0 not in fractions[:-1]


def test_a_stream_asks_the_server_nothing_until_it_is_iterated(
    server: FakeOllama, client: Client, place: Path
) -> None:
    threads = threading.active_count()
    stream = client.create_model_stream("m", files=place / "weights.gguf")
    assert stream.progress is None
    stream.close()
    assert list(stream) == []
    with client.create_model_stream("m", "n"):
        pass
    assert threading.active_count() == threads
    assert server.connections == 0


def test_leaving_a_stream_in_its_upload_ends_the_thread_and_the_connection(
    server: FakeOllama, client: Client, place: Path
) -> None:
    server.on("HEAD", f"/api/blobs/{digest_of(WEIGHTS)}", Recording("blob-head-missing").delay(60))
    with client.create_model_stream("m", files=place / "weights.gguf") as stream:
        for step in stream:
            if step.status == "uploading":
                break
        server.wait_for_request()
        assert any(thread.name == "ollama-ext upload" for thread in threading.enumerate())
    assert not any(thread.name == "ollama-ext upload" for thread in threading.enumerate())
    assert server.wait_for_disconnect().method == "HEAD"
    assert list(stream) == []


def test_a_failed_upload_is_raised_by_the_stream_with_the_progress_so_far(
    server: FakeOllama, client: Client, place: Path
) -> None:
    server.on("POST", f"/api/blobs/{digest_of(WEIGHTS)}", Json({"error": "no space left on device"}, 500))
    stream = client.create_model_stream("m", files=place / "weights.gguf", retry=None)
    with pytest.raises(ServerError, match="no space") as caught:
        stream.finish()
    assert caught.value.progress == stream.progress
    assert caught.value.progress is not None
    assert caught.value.progress.status == "uploading"
    assert list(stream) == []
    assert CREATE not in {each.path for each in server.requests}
