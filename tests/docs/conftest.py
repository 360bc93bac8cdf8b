"""What the page for users of lex-ollama says that there is: a server, a bucket, replies, a request."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from lex_ollama_page import CHAT, EMBED, GIVEN, MESSAGES, PUBLISHED, Names, parsed, replied, request_of
from lex_ollama_surface import SETTINGS
from model_stores import put_manifest, put_model
from s3_servers import REGION, S3Server

from ollama_ext import Client, OllamaError
from ollama_ext.fleet.dispatch import run_request
from ollama_ext.fleet.messages import Properties, reply_properties
from ollama_ext.fleet.outbox import Letter
from ollama_ext.s3 import Credentials, Mirror
from ollama_ext.settings import Settings, Subscription
from ollama_ext.testing import FakeOllama, Json, Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUCKET = "lex-ollama"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    """Run a server that has the models of the page."""
    aliases = {"llama3.2": "smol-tools", "all-minilm": "all-minilm:l6-v2"}
    with FakeOllama(aliases=aliases) as server:
        for path in ("/api/pull", "/api/push", "/api/create"):
            server.on("POST", path, Lines({"status": "success"}))
        yield server


@pytest.fixture(scope="module")
def mirror(moto: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """Make a bucket with good models, one with a blob that is not what it says, and one without layers."""
    with closing(moto.client()) as s3:
        s3.create_bucket(Bucket=_BUCKET)
        for model in ("llama3.2:1b", "all-minilm"):
            put_model(s3, _BUCKET, model, [model.encode()])
        put_manifest(s3, _BUCKET, "registry.ollama.ai/library/bare/latest", b'{"schemaVersion": 2}')
        manifest = json.loads(put_model(s3, _BUCKET, "bad", [b"bad weights"]))
        blob = manifest["layers"][0]["digest"].replace(":", "-")
        s3.put_object(Bucket=_BUCKET, Key=f"ollama/models/blobs/{blob}", Body=b"mad weights")
    with Mirror(
        _BUCKET,
        endpoint_url=moto.endpoint_url,
        region=REGION,
        credentials=Credentials(moto.access_key, moto.secret_key),
        store=tmp_path_factory.mktemp("store"),
        reserve=0,
    ) as made:
        yield made


@pytest.fixture(scope="module")
def names(fake: FakeOllama, mirror: Mirror) -> Iterator[Names]:
    """Make what the sections of the page say that there is."""
    with Client(fake.url) as client:
        stream = client.chat_stream("llama3.2", MESSAGES)
        events = list(stream)
        request = parsed(PUBLISHED, Properties(), EMBED)
        yield Names(
            client=client,
            mirror=mirror,
            error=_busy(),
            messages=MESSAGES,
            stream=stream,
            events=events,
            digest=client.push_blob(None, b"weights"),
            reply=client.chat("llama3.2", MESSAGES),
            vectors=client.embed("all-minilm", "alpha"),
            imported=mirror.import_model("llama3.2:1b"),
            subscription=Subscription(type="chat", model="qwen3.5:27b"),
            body=json.dumps(PUBLISHED).encode(),
            request=request,
            outcome=run_request(request.body, client, EMBED),
            properties=Properties(),
            letter=Letter(id="r-1", routing_key="llm.reply.node-17", body=b"{}", properties=Properties()),
            sent=reply_properties(
                correlation_id="c-0042", message_id="r-1", worker="gpu-07", queue="llm.request.x", attempt=1
            ),
            given=GIVEN,
            request_of=request_of,
            answer=replied({"messages": MESSAGES, "correlation_id": 7}, CHAT, client),
            failed=replied({}, Subscription(type="chat", model="missing"), client),
            settings=Settings.from_mapping({"legion": {"ollama": SETTINGS}}, environ={}),
        )


def _busy() -> OllamaError:
    """Return the error of a server that is busy."""
    with FakeOllama() as server, Client(server.url, retry=None) as client:
        server.on("GET", "/api/version", Json({"error": "busy"}, 503))
        with pytest.raises(OllamaError) as caught:
            client.server_version()
    return caught.value
