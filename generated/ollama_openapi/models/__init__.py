"""The models of requests and responses. Each is imported when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .chat_chunk import ChatChunk
    from .chat_request import ChatRequest
    from .chat_response import ChatResponse
    from .cloud_status import CloudStatus
    from .copy_request import CopyRequest
    from .create_info import CreateInfo
    from .create_request import CreateRequest
    from .debug_info import DebugInfo
    from .delete_request import DeleteRequest
    from .embed_request import EmbedRequest
    from .embed_response import EmbedResponse
    from .embedding_request import EmbeddingRequest
    from .embedding_response import EmbeddingResponse
    from .error_response import ErrorResponse
    from .generate_chunk import GenerateChunk
    from .generate_request import GenerateRequest
    from .generate_response import GenerateResponse
    from .list_model_response import ListModelResponse
    from .list_response import ListResponse
    from .logprob import Logprob
    from .message import Message
    from .message_role import MessageRole
    from .model_details import ModelDetails
    from .model_recommendation import ModelRecommendation
    from .model_recommendations_response import ModelRecommendationsResponse
    from .options import Options
    from .process_model_response import ProcessModelResponse
    from .process_response import ProcessResponse
    from .progress_chunk import ProgressChunk
    from .progress_response import ProgressResponse
    from .pull_request import PullRequest
    from .push_request import PushRequest
    from .response_message import ResponseMessage
    from .show_request import ShowRequest
    from .show_response import ShowResponse
    from .status_response import StatusResponse
    from .tensor import Tensor
    from .think_level import ThinkLevel
    from .token_logprob import TokenLogprob
    from .tool import Tool
    from .tool_call import ToolCall
    from .tool_call_function import ToolCallFunction
    from .tool_function import ToolFunction
    from .tool_function_parameters import ToolFunctionParameters
    from .tool_property import ToolProperty
    from .user_response import UserResponse
    from .version_response import VersionResponse
    from .web_fetch_request import WebFetchRequest
    from .web_fetch_response import WebFetchResponse
    from .web_search_request import WebSearchRequest
    from .web_search_response import WebSearchResponse
    from .web_search_result import WebSearchResult
else:
    from ..lazy import lazy_members

    __getattr__, __dir__ = lazy_members(
        __name__,
        {
            "ChatChunk": "chat_chunk",
            "ChatRequest": "chat_request",
            "ChatResponse": "chat_response",
            "CloudStatus": "cloud_status",
            "CopyRequest": "copy_request",
            "CreateInfo": "create_info",
            "CreateRequest": "create_request",
            "DebugInfo": "debug_info",
            "DeleteRequest": "delete_request",
            "EmbedRequest": "embed_request",
            "EmbedResponse": "embed_response",
            "EmbeddingRequest": "embedding_request",
            "EmbeddingResponse": "embedding_response",
            "ErrorResponse": "error_response",
            "GenerateChunk": "generate_chunk",
            "GenerateRequest": "generate_request",
            "GenerateResponse": "generate_response",
            "ListModelResponse": "list_model_response",
            "ListResponse": "list_response",
            "Logprob": "logprob",
            "Message": "message",
            "MessageRole": "message_role",
            "ModelDetails": "model_details",
            "ModelRecommendation": "model_recommendation",
            "ModelRecommendationsResponse": "model_recommendations_response",
            "Options": "options",
            "ProcessModelResponse": "process_model_response",
            "ProcessResponse": "process_response",
            "ProgressChunk": "progress_chunk",
            "ProgressResponse": "progress_response",
            "PullRequest": "pull_request",
            "PushRequest": "push_request",
            "ResponseMessage": "response_message",
            "ShowRequest": "show_request",
            "ShowResponse": "show_response",
            "StatusResponse": "status_response",
            "Tensor": "tensor",
            "ThinkLevel": "think_level",
            "TokenLogprob": "token_logprob",
            "Tool": "tool",
            "ToolCall": "tool_call",
            "ToolCallFunction": "tool_call_function",
            "ToolFunction": "tool_function",
            "ToolFunctionParameters": "tool_function_parameters",
            "ToolProperty": "tool_property",
            "UserResponse": "user_response",
            "VersionResponse": "version_response",
            "WebFetchRequest": "web_fetch_request",
            "WebFetchResponse": "web_fetch_response",
            "WebSearchRequest": "web_search_request",
            "WebSearchResponse": "web_search_response",
            "WebSearchResult": "web_search_result",
        },
    )

__all__ = (
    "ChatChunk",
    "ChatRequest",
    "ChatResponse",
    "CloudStatus",
    "CopyRequest",
    "CreateInfo",
    "CreateRequest",
    "DebugInfo",
    "DeleteRequest",
    "EmbeddingRequest",
    "EmbeddingResponse",
    "EmbedRequest",
    "EmbedResponse",
    "ErrorResponse",
    "GenerateChunk",
    "GenerateRequest",
    "GenerateResponse",
    "ListModelResponse",
    "ListResponse",
    "Logprob",
    "Message",
    "MessageRole",
    "ModelDetails",
    "ModelRecommendation",
    "ModelRecommendationsResponse",
    "Options",
    "ProcessModelResponse",
    "ProcessResponse",
    "ProgressChunk",
    "ProgressResponse",
    "PullRequest",
    "PushRequest",
    "ResponseMessage",
    "ShowRequest",
    "ShowResponse",
    "StatusResponse",
    "Tensor",
    "ThinkLevel",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallFunction",
    "ToolFunction",
    "ToolFunctionParameters",
    "ToolProperty",
    "UserResponse",
    "VersionResponse",
    "WebFetchRequest",
    "WebFetchResponse",
    "WebSearchRequest",
    "WebSearchResponse",
    "WebSearchResult",
)
