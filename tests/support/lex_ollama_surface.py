"""What lex-ollama 0.3.1 offers and declares, from its source: what a page about it must not leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The methods of its client: their arguments, and what they ask of Ollama.
METHODS: Final[Mapping[str, tuple[str, str | None]]] = {
    "chat": ("model messages tools format options stream keep_alive think", "POST /api/chat"),
    "chat_stream": ("model messages tools format options keep_alive think", "POST /api/chat"),
    "generate": ("model prompt images format options system stream keep_alive", "POST /api/generate"),
    "generate_stream": ("model prompt images format options system keep_alive", "POST /api/generate"),
    "embed": ("model input truncate options keep_alive dimensions", "POST /api/embed"),
    "create_model": ("model from files system stream quantize", "POST /api/create"),
    "list_models": ("", "GET /api/tags"),
    "show_model": ("model verbose", "POST /api/show"),
    "copy_model": ("source destination", "POST /api/copy"),
    "delete_model": ("model", "DELETE /api/delete"),
    "pull_model": ("model insecure stream", "POST /api/pull"),
    "push_model": ("model insecure stream", "POST /api/push"),
    "list_running": ("", "GET /api/ps"),
    "check_blob": ("digest", "HEAD /api/blobs/{digest}"),
    "push_blob": ("digest body", "POST /api/blobs/{digest}"),
    "server_version": ("", "GET /api/version"),
    "list_s3_models": ("bucket prefix", None),
    "import_from_s3": ("model bucket prefix models_path", None),
    "sync_from_s3": ("model bucket prefix host models_path", None),
    "import_default_models": ("default_models bucket", None),
}
#: All else that is public: classes, their methods, constants.
PUBLIC: Final = """
    Client.new opts client streaming_client DEFAULT_HOST VERSION from_response EMPTY_USAGE with_retry
    retryable? MAX_RETRIES BASE_DELAY MAX_DELAY RETRYABLE_EXCEPTIONS DigestMismatchError handle_request
    ModelWorker.new request_type model_name runner_class runner_function use_runner? queue process_message
    exchange_name default_type queue_name queue_options routing_key exchange encrypt? message
    additional_e_to_q
"""
#: What a message says, and what the broker has.
DECLARED: Final[Mapping[str, str]] = {
    "Properties and headers": """
        content_type content_encoding reply_to correlation_id message_id expiration type app_id timestamp
        priority headers region region_affinity
    """,
    "Body": "model request_type reply_to correlation_id stream",
    "What goes on to Ollama": """
        input text truncate options keep_alive dimensions prompt images format system messages tools think
    """,
    "The fleet: the reply": "correlation_id result usage model provider status",
    "The fleet: names and arguments": """
        llm.request llm.request.ollama. x-queue-type x-dead-letter-exchange ollama.dlx.queue agent ollama
    """,
    "What comes back": ":result :usage :status type: text: data: :delta :done",
    "Models in S3": ":models :name :tag :blobs_downloaded :blobs_skipped :blobs_pushed :result :errors",
}
#: Every key that it documents, with a value.
SETTINGS: Final[Mapping[str, Any]] = {
    "host": "http://gpu1:11434",
    "subscriptions": [
        {"type": "embed", "model": "nomic-embed-text"},
        {"type": "chat", "model": "qwen3.5:27b"},
    ],
    "s3": {
        "bucket": "legion",
        "prefix": "ollama/models",
        "endpoint": "https://s3.example.com",
        "region": "us-east-2",
        "access_key_id": "AKIA0",
        "secret_access_key": "secret",
    },
    "models_path": "/srv/models",
    "default_models": ["llama3:latest", "nomic-embed-text:latest"],
}
