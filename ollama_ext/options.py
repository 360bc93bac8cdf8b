"""What every call can be told beside its request: how long to wait, whether to try again, how to be ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, cast

from . import arguments
from .cancel import CancelToken, child_of
from .credentials import authorization
from .errors import InvalidArgument
from .retry import RetryPolicy
from .timeouts import timeouts_of
from .transport.headers import merged
from .transport.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .hosts import Host
    from .timeouts import Timeouts


class CallOptions(TypedDict, total=False):
    """Keyword arguments that every method of `Client` takes. What is left out is the client's own.

    Attributes:
        timeout: `Timeouts`, or seconds for the whole call, or None for no limit.
        retry: When to try again, or None for never.
        cancel: A token that ends the call from another thread.
        extra_headers: Headers that are sent as well; they win over the client's.
    """

    timeout: Timeouts | float | None
    retry: RetryPolicy | None
    cancel: CancelToken | None
    extra_headers: Mapping[str, str] | None


class BodyOptions(CallOptions, total=False):
    """The same for methods that send a JSON body.

    Attributes:
        extra_body: Fields that are sent as well; they win over the arguments. For what a newer server knows.
    """

    extra_body: Mapping[str, Any] | None


class ClientOptions(TypedDict, total=False):
    """Keyword arguments of `Client.with_options`. What is left out stays as it is.

    Attributes:
        timeout: `Timeouts`, or seconds for a whole call, or None for no limit.
        retry: When a call is made again, or None for never.
        headers: Added to those of the client; they win over those.
        api_key: Sent as a bearer token, as `Client` does.
        allow_plain_http_key: Whether ``api_key`` may cross the network in the clear.
    """

    timeout: Timeouts | float | None
    retry: RetryPolicy | None
    headers: Mapping[str, str] | None
    api_key: str | None
    allow_plain_http_key: bool


class Defaults:
    """The options of a client, which hold for calls that do not say otherwise."""

    __slots__ = ("_allow_plain_http_key", "headers", "retry", "timeouts")

    def __init__(
        self,
        timeout: Timeouts | float | None,
        retry: RetryPolicy | None,
        headers: dict[str, str],
        *,
        allow_plain_http_key: bool,
    ) -> None:
        """Check and keep them; the headers hold the key already, if there is one."""
        self.timeouts: Timeouts = timeouts_of(timeout)
        self.retry: RetryPolicy | None = checked_retry(retry)
        self.headers: dict[str, str] = headers
        self._allow_plain_http_key = allow_plain_http_key

    def replaced(self, host: Host, options: ClientOptions) -> Defaults:
        """Return other defaults for a client of the same host."""
        unknown = options.keys() - ClientOptions.__optional_keys__
        if unknown:
            raise TypeError(f"with_options() got an unexpected keyword argument {min(unknown)!r}")
        allow = options.get("allow_plain_http_key", self._allow_plain_http_key)
        added = arguments.checked_headers(options.get("headers"), "headers")
        if (key := options.get("api_key")) is not None:  # else it stays: the environment is not asked again
            added = merged(added, authorization(host, key, added, allow_plain_http=allow))
        timeout, retry = options.get("timeout", self.timeouts), options.get("retry", self.retry)
        return Defaults(timeout, retry, merged(self.headers, added), allow_plain_http_key=allow)


def default_headers(
    host: Host, headers: Mapping[str, str] | None, api_key: str | None, *, allow_plain_http_key: bool
) -> dict[str, str]:
    """Return the headers that a client sends with every request, the key among them."""
    checked = arguments.checked_headers(headers, "headers")
    return merged(checked, authorization(host, api_key, checked, allow_plain_http=allow_plain_http_key))


class Call:
    """One call: its options, the client's where it has none, and its clock, which runs.

    Attributes:
        headers: Sent with every request of the call.
        retry: When to try again, or None.
        limits: How long it may still take, and the token that ends it.
    """

    __slots__ = ("headers", "limits", "retry")

    def __init__(self, defaults: Defaults, options: CallOptions) -> None:
        """Check the options and start the clock.

        Raises:
            InvalidArgument: A value cannot be right.
            TypeError: A name is none of an option.
        """
        timeouts = defaults.timeouts
        cancel: CancelToken | None = None
        self.retry: RetryPolicy | None = defaults.retry
        self.headers: dict[str, str] = defaults.headers
        for name, value in options.items():
            if name == "timeout":
                timeouts = timeouts_of(cast("Any", value))
            elif name == "retry":
                self.retry = checked_retry(value)
            elif name == "cancel":
                cancel = _checked_cancel(value)
            elif name == "extra_headers":
                self.headers = merged(self.headers, arguments.checked_headers(cast("Any", value), name))
            else:
                raise TypeError(f"unexpected keyword argument {name!r}")
        self.limits: Limits = Limits(timeouts, cancel)

    def with_own_token(self) -> CancelToken:
        """Give the call a token of its own, which the caller's token cancels too; return it."""
        self.limits.cancel = token = child_of(self.limits.cancel)
        return token


def checked_retry(retry: Any) -> RetryPolicy | None:
    """Return a policy, or None."""
    if retry is None or isinstance(retry, RetryPolicy):
        return retry
    raise InvalidArgument(
        f"retry must be a RetryPolicy or None (try once), not {retry!r:.80}: RetryPolicy(attempts=...), say",
        argument="retry",
    )


def _checked_cancel(cancel: Any) -> CancelToken | None:
    if cancel is None or isinstance(cancel, CancelToken):
        return cancel
    raise InvalidArgument(f"cancel must be a CancelToken, not {cancel!r:.80}", argument="cancel")
