"""Which paths and methods an Ollama of a given version has, and what its router says to others."""

from __future__ import annotations

from .responses import Body, Response

# In the order in which the router lists methods in its Allow header.
_ROUTES: dict[str, tuple[str, ...]] = {
    "/": ("HEAD", "GET"),
    "/api/version": ("HEAD", "GET"),
    "/api/status": ("GET",),
    "/api/tags": ("HEAD", "GET"),
    "/api/ps": ("GET",),
    "/api/show": ("POST",),
    "/api/generate": ("POST",),
    "/api/chat": ("POST",),
    "/api/embed": ("POST",),
    "/api/embeddings": ("POST",),
    "/api/pull": ("POST",),
    "/api/push": ("POST",),
    "/api/create": ("POST",),
    "/api/copy": ("POST",),
    "/api/delete": ("DELETE",),
    "/api/me": ("POST",),
    "/api/signout": ("POST",),
    "/api/experimental/web_search": ("POST",),
    "/api/experimental/web_fetch": ("POST",),
    "/api/experimental/model-recommendations": ("GET",),
    "/v1/chat/completions": ("POST",),
    "/v1/completions": ("POST",),
    "/v1/embeddings": ("POST",),
    "/v1/responses": ("POST",),
    "/v1/messages": ("POST",),
    "/v1/audio/transcriptions": ("POST",),
    "/v1/models": ("GET",),
}
_UNDER: dict[str, tuple[str, ...]] = {  # paths with one variable part at the end
    "/api/blobs/": ("HEAD", "POST"),
    "/api/user/keys/": ("DELETE",),
    "/v1/models/": ("GET",),
}
# Recorded as missing there, or part of a cloud service that is younger than that version.
_NOT_IN_0_9 = (
    "/api/status",
    "/api/me",
    "/api/signout",
    "/api/user/",
    "/api/experimental/",
    "/v1/responses",
    "/v1/messages",
    "/v1/audio/",
)


def methods_of(path: str, version: str) -> tuple[str, ...]:
    """Return the methods that the server has for a path, none for a path it does not know."""
    if version == "v0.9.6" and path.startswith(_NOT_IN_0_9):
        return ()
    if path in _ROUTES:
        return _ROUTES[path]
    for start, methods in _UNDER.items():
        if path.startswith(start) and path != start and "/" not in path[len(start) :]:
            return methods
    return ()


def misrouted(method: str, path: str, version: str) -> Response | None:
    """Return the router's answer to a wrong path or method; None when the route exists."""
    methods = methods_of(path, version)
    if method in methods:
        return None
    if methods:
        allow = {"Allow": ", ".join(methods)}
        return Body("405 method not allowed", 405, "text/plain", allow)
    if path.endswith("/") and method in methods_of(path.rstrip("/"), version):
        return _redirect(method, path.rstrip("/"))
    return Body("404 page not found", 404, "text/plain")


def _redirect(method: str, path: str) -> Response:
    location = {"Location": path}
    if method == "GET":
        text = f'<a href="{path}">Moved Permanently</a>.\n\n'
        return Body(text, 301, headers=location)
    return Body(b"", 301 if method == "HEAD" else 307, None, location)
