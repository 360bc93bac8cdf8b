"""What must fit together: settings that are good one by one, and wrong side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ollama_ext.errors import InvalidArgument

from .given import DEFAULT, Problem
from .keys import PATHS, SECTIONS
from .urls import has_password

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .layouts import Source
    from .parts import Subscription

_DAY: Final = 86400.0


class _Checked:
    """Values with defaults, and problems with the place of the key that has to change."""

    def __init__(self, values: dict[str, Any], merged: Source) -> None:
        self._values, self._merged = values, merged
        self.problems: list[Problem] = []

    def __getitem__(self, path: str) -> Any:
        if path in self._values or "." not in path:
            return self._values.get(path, ())
        section, _, name = path.partition(".")
        fields = msgspec.structs.fields(SECTIONS[section][1])
        return next((field.default for field in fields if field.name == name), None)

    def __contains__(self, path: str) -> bool:
        return path in self._values

    def tell(self, path: str, what: str) -> None:
        entry = self._merged.get(path)
        origin = entry.given.origin if entry else DEFAULT
        self.problems.append(Problem(origin, f"{self.path(path)} {what}"))

    def path(self, path: str) -> str:
        return self._merged[path].path if path in self._merged else path


def misfits(values: dict[str, Any], merged: Source) -> list[Problem]:
    """Return what does not fit together."""
    checked = _Checked(values, merged)
    _check_amqp(checked)
    _check_subscriptions(checked, merged)
    _check_replies(checked)
    if any(path.startswith("s3.") for path in values):
        _check_bucket(checked)
        _check_who_asks(checked)
    elif checked["default_models"]:
        checked.tell(
            "default_models", "names models, but there is no bucket to fetch them from: set s3.bucket"
        )
    return checked.problems


def _check_amqp(checked: _Checked) -> None:
    path = "amqp.url" if "amqp.url" in checked else "amqp.urls"
    urls: Sequence[str] = [checked[path]] if path == "amqp.url" else checked[path]
    if "amqp.password_file" in checked and any(has_password(url) for url in urls):
        checked.tell(
            path, f"has a password, and {checked.path('amqp.password_file')} is set too: leave out one"
        )
    if not any(url.startswith("amqps://") for url in urls):
        for name in ("ca_file", "cert_file", "key_file"):
            if f"amqp.{name}" in checked:
                checked.tell(f"amqp.{name}", "is for TLS, but no URL begins with amqps://")
    if "amqp.key_file" in checked and "amqp.cert_file" not in checked:
        checked.tell("amqp.key_file", "is the key of a certificate: set amqp.cert_file too")


def _check_subscriptions(checked: _Checked, merged: Source) -> None:
    subscriptions: Sequence[Subscription] = checked["subscriptions"]
    for place, subscription in enumerate(subscriptions):
        if subscription.slots is not None and subscription.slots > checked["worker.slots"]:
            entry = merged["subscriptions"]
            origin, given = entry.given.origin, entry.given.value
            if isinstance(given, list) and isinstance(held := given[place].value, dict):
                origin = held["slots"].origin
            checked.problems.append(
                Problem(
                    origin,
                    f"{entry.path}[{place}].slots is {subscription.slots}, more than all of the worker's "
                    f"(worker.slots is {checked['worker.slots']}): raise those, or lower this",
                )
            )
    one_model = len(subscriptions) <= 1 and all(each.model != "*" for each in subscriptions)
    if checked["worker.preload"] and not one_model:
        checked.tell("worker.preload", "is for a worker with one subscription, to one model, which is loaded")


def _check_replies(checked: _Checked) -> None:
    """A reply must never get into a queue of requests: workers would run it, and reply to it."""
    subscriptions: Sequence[Subscription] = checked["subscriptions"]
    exchanges = [checked["amqp.exchange"], *(each.exchange for each in subscriptions if each.exchange)]
    for exchange in dict.fromkeys(exchanges):
        requests = f"{exchange}."
        for allowed in checked["worker.reply_to_allow"]:
            if requests.startswith(allowed) or allowed.startswith(requests):
                checked.tell(
                    "worker.reply_to_allow",
                    f"must not hold {allowed!r}: that allows replies into queues of requests ({requests}...)",
                )


def _check_bucket(checked: _Checked) -> None:
    if "s3.bucket" not in checked:
        first = next(path for path in PATHS if path.startswith("s3.") and path in checked)
        checked.tell(first, "is set, but no s3.bucket: name the bucket")
    if checked["s3.prune_grace"] < _DAY and not checked["s3.allow_short_grace"]:
        checked.tell(
            "s3.prune_grace",
            "is less than a day: a publication that takes longer could lose blobs; set "
            "s3.allow_short_grace if none does",
        )
    if "s3.endpoint_url" in checked and not checked["s3.allow_link_local"]:
        from ollama_ext.s3.endpoint import check_endpoint  # noqa: PLC0415 - only where there is a bucket

        try:
            check_endpoint(checked["s3.endpoint_url"], allow_link_local=False)
        except InvalidArgument as error:
            message = error.message.removeprefix("endpoint_url ")
            checked.tell("s3.endpoint_url", message.replace("allow_link_local=True", "s3.allow_link_local"))


def _check_who_asks(checked: _Checked) -> None:
    has_key = "s3.access_key_id" in checked
    has_secret = "s3.secret_access_key" in checked or "s3.secret_access_key_file" in checked
    if has_key and not has_secret:
        checked.tell("s3.access_key_id", "is half of a key: set s3.secret_access_key_file too")
    for name in ("secret_access_key", "secret_access_key_file", "session_token"):
        if f"s3.{name}" in checked and not has_key:
            checked.tell(f"s3.{name}", "is part of a key: set s3.access_key_id too")
    if checked["s3.anonymous"]:
        for name in ("access_key_id", "profile"):
            if f"s3.{name}" in checked:
                checked.tell(f"s3.{name}", "says who asks, but s3.anonymous is true: leave out one of them")
    if has_key and "s3.profile" in checked:
        checked.tell("s3.profile", "says who asks, and s3.access_key_id does too: leave out one of them")
