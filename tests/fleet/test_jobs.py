"""The life of a job, told one event after the other. What must hold in any order is in test_jobs_laws.py."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from ollama_ext.fleet.jobs import Adopt, Delivery, Finished, Job, Jobs, Join, Run, Settle, State
from ollama_ext.fleet.messages import Properties

if TYPE_CHECKING:
    from collections.abc import Callable

    from ollama_ext.fleet.jobs import Decision

QUEUE = "llm.request.ollama.chat.a"


def delivery(
    tag: int = 1,
    epoch: int = 1,
    *,
    again: bool = False,
    count: int = 0,
    body: bytes = b"{}",
    queue: str = QUEUE,
    message_id: str | None = "m1",
    reply_to: str | None = "amq.gen-1",
    correlation_id: str | None = "c1",
) -> Delivery:
    properties = Properties(message_id=message_id, reply_to=reply_to, correlation_id=correlation_id)
    return Delivery(
        queue=queue,
        tag=tag,
        epoch=epoch,
        redelivered=again,
        properties=properties,
        body=body,
        count=count,
    )


def job_of(decision: Decision) -> Job:
    assert isinstance(decision, Run)
    return decision.job


def started(jobs: Jobs, what: Delivery) -> Job:
    job = job_of(jobs.delivered(what))
    jobs.started(job, 5.0)
    return job


def done(jobs: Jobs, job: Job) -> list[Settle]:
    jobs.finished(job)
    return jobs.replied(job)


def test_a_job_is_acknowledged_when_its_reply_has_its_fate_and_not_before() -> None:
    jobs = Jobs()
    job = job_of(jobs.delivered(delivery(7, 3)))
    assert (job.state, job.started) == (State.HELD, None)
    jobs.started(job, 12.5)
    assert jobs.running == [job]
    assert job.started == 12.5
    jobs.finished(job)
    assert jobs.running == []
    assert list(jobs) == [job]
    assert jobs.replied(job) == [Settle(QUEUE, 3, 7, "ack")]
    assert (job.state, len(jobs)) == (State.OVER, 0)
    assert jobs.find(job.key) == []


def test_a_job_whose_link_was_lost_is_adopted_by_its_redelivery_and_settled_with_the_new_tag_only() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1, 1))
    assert jobs.lost(1) == []
    assert job.orphaned
    assert jobs.delivered(delivery(4, 2, again=True, count=1)) == Adopt(job)
    assert not job.orphaned
    assert jobs.running == [job]
    assert done(jobs, job) == [Settle(QUEUE, 2, 4, "ack")]


def test_a_job_that_waits_for_the_fate_of_its_reply_is_adopted_too() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1, 1))
    jobs.finished(job)
    jobs.lost(1)
    assert jobs.delivered(delivery(1, 2, again=True)) == Adopt(job)
    assert jobs.replied(job) == [Settle(QUEUE, 2, 1, "ack")]


def test_the_loss_of_another_channel_changes_nothing() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1, 5))
    jobs.lost(6)
    jobs.lost(4)
    assert done(jobs, job) == [Settle(QUEUE, 5, 1, "ack")]


def test_a_job_that_was_not_started_when_its_link_was_lost_is_forgotten_and_its_redelivery_is_new() -> None:
    jobs = Jobs()
    job = job_of(jobs.delivered(delivery(1, 1)))
    assert jobs.lost(1) == [job]
    assert len(jobs) == 0
    with pytest.raises(ValueError, match=r"<Job .* over, tags \[\]> .* a job that is held"):
        jobs.started(job, 1.0)
    again = job_of(jobs.delivered(delivery(1, 2, again=True, count=1)))
    assert again is not job


def test_a_duplicate_joins_the_job_and_is_settled_with_it() -> None:
    jobs = Jobs()
    job = job_of(jobs.delivered(delivery(1)))
    assert jobs.delivered(delivery(2)) == Join(job)
    jobs.started(job, 0.0)
    assert jobs.delivered(delivery(3, again=True)) == Join(job)  # a consumer that took too long
    assert len(jobs) == 1
    assert done(jobs, job) == [Settle(QUEUE, 1, tag, "ack") for tag in (1, 2, 3)]


def test_a_request_that_is_published_again_while_its_job_is_an_orphan_joins_it() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1, 1))
    jobs.lost(1)
    assert jobs.delivered(delivery(1, 2)) == Join(job)
    assert jobs.delivered(delivery(2, 2, again=True, count=1)) == Join(job)
    assert done(jobs, job) == [Settle(QUEUE, 2, 1, "ack"), Settle(QUEUE, 2, 2, "ack")]


def test_a_joined_job_whose_link_is_lost_keeps_the_tags_of_other_channels() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1, 1))
    assert jobs.delivered(delivery(1, 2)) == Join(job)
    jobs.lost(1)
    assert not job.orphaned
    assert done(jobs, job) == [Settle(QUEUE, 2, 1, "ack")]


def test_a_held_job_is_not_forgotten_while_one_of_its_channels_is_there() -> None:
    jobs = Jobs()
    job = job_of(jobs.delivered(delivery(1, 1)))
    jobs.delivered(delivery(1, 2))
    assert jobs.lost(1) == []
    jobs.started(job, 0.0)
    assert done(jobs, job) == [Settle(QUEUE, 2, 1, "ack")]


@pytest.mark.parametrize(
    "other",
    [
        delivery(2, body=b"{ }"),
        delivery(2, message_id="m2"),
        delivery(2, reply_to="amq.gen-2"),
        delivery(2, reply_to=None),
        delivery(2, correlation_id="c2"),
        delivery(2, queue="llm.request.ollama.embed.a"),
    ],
    ids=["body", "message_id", "reply_to", "no reply_to", "correlation_id", "queue"],
)
def test_what_differs_is_another_request(other: Delivery) -> None:
    jobs = Jobs()
    first = started(jobs, delivery(1))
    second = started(jobs, other)
    assert second is not first
    assert first.key != second.key
    assert len(jobs) == 2


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_message_id_equal_messages_are_two_requests(nothing: str | None) -> None:
    jobs = Jobs()
    first = started(jobs, delivery(1, message_id=nothing))
    second = started(jobs, delivery(2, message_id=nothing))
    third = started(jobs, delivery(3, message_id=nothing, again=True))
    assert jobs.find(first.key) == [first, second, third]
    assert done(jobs, second) == [Settle(QUEUE, 1, 2, "ack")]
    assert jobs.find(first.key) == [first, third]


def test_without_a_message_id_each_orphan_is_adopted_once() -> None:
    jobs = Jobs()
    one, two = (started(jobs, delivery(tag, message_id=None)) for tag in (1, 2))
    jobs.lost(1)
    assert jobs.delivered(delivery(1, 2, message_id=None, again=True)) == Adopt(one)
    assert jobs.delivered(delivery(2, 2, message_id=None, again=True)) == Adopt(two)
    assert isinstance(jobs.delivered(delivery(3, 2, message_id=None, again=True)), Run)


def test_without_a_message_id_only_a_redelivery_is_adopted() -> None:
    jobs = Jobs()
    started(jobs, delivery(1, message_id=None))
    jobs.lost(1)
    assert isinstance(jobs.delivered(delivery(1, 2, message_id=None)), Run)


def test_the_redelivery_of_a_request_that_was_replied_to_is_acknowledged_and_not_run() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1, 1))
    jobs.lost(1)
    assert done(jobs, job) == []
    again = delivery(9, 2, again=True)
    assert jobs.delivered(again) == Finished(again, Settle(QUEUE, 2, 9, "ack"))
    assert jobs.delivered(again) == Finished(again, Settle(QUEUE, 2, 9, "ack"))


def test_a_request_that_is_published_again_after_its_job_has_ended_runs_again() -> None:
    jobs = Jobs()
    done(jobs, started(jobs, delivery(1)))
    assert isinstance(jobs.delivered(delivery(2)), Run)


def test_a_redelivery_runs_again_if_the_reply_did_not_arrive() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(message_id="a"))
    jobs.finished(job)
    jobs.replied(job, arrived=False)
    assert isinstance(jobs.delivered(delivery(message_id="a", again=True)), Run)


def test_without_a_message_id_a_redelivery_after_the_end_runs_again() -> None:
    jobs = Jobs()
    done(jobs, started(jobs, delivery(1, message_id=None)))
    assert isinstance(jobs.delivered(delivery(2, message_id=None, again=True)), Run)


def test_a_dead_request_is_rejected_and_so_is_its_redelivery() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1, 1))
    jobs.finished(job)
    assert jobs.reject_dead(job) == [Settle(QUEUE, 1, 1, "reject")]
    again = delivery(1, 2, again=True)
    assert jobs.delivered(again) == Finished(again, Settle(QUEUE, 2, 1, "reject"))


def test_a_request_that_goes_back_runs_again_when_it_comes_back() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1))
    jobs.delivered(delivery(2))
    assert jobs.requeue(job) == [Settle(QUEUE, 1, 1, "requeue"), Settle(QUEUE, 1, 2, "requeue")]
    assert len(jobs) == 0
    assert isinstance(jobs.delivered(delivery(3, again=True, count=1)), Run)


def test_an_orphan_that_goes_back_is_forgotten() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1))
    jobs.finished(job)
    jobs.lost(1)
    assert jobs.requeue(job) == []
    assert isinstance(jobs.delivered(delivery(1, 2, again=True, count=1)), Run)


def _finish(jobs: Jobs, job: Job) -> None:
    jobs.finished(job)


def _reply(jobs: Jobs, job: Job) -> None:
    jobs.replied(job)


def _reject(jobs: Jobs, job: Job) -> None:
    jobs.reject_dead(job)


def _requeue(jobs: Jobs, job: Job) -> None:
    jobs.requeue(job)


def _start(jobs: Jobs, job: Job) -> None:
    jobs.started(job, 0.0)


@pytest.mark.parametrize(
    ("before", "event", "wanted"),
    [
        ([], _finish, "running"),
        ([], _reply, "replying"),
        ([], _reject, "replying"),
        ([], _requeue, "running or replying"),
        ([_start], _start, "held"),
        ([_start], _reply, "replying"),
        ([_start], _reject, "replying"),
        ([_start, _finish], _finish, "running"),
        ([_start, _finish, _reply], _reply, "replying"),
        ([_start, _requeue], _requeue, "running or replying"),
        ([_start, _requeue], _finish, "running"),
    ],
)
def test_an_event_that_cannot_happen_now_is_refused(
    before: list[Callable[[Jobs, Job], None]], event: Callable[[Jobs, Job], None], wanted: str
) -> None:
    jobs = Jobs()
    job = job_of(jobs.delivered(delivery()))
    for each in before:
        each(jobs, job)
    with pytest.raises(ValueError, match=f"told of an event of a job that is {wanted}$"):
        event(jobs, job)


def test_each_failed_delivery_is_an_attempt() -> None:
    jobs = Jobs()
    assert jobs.attempt(started(jobs, delivery(1))) == 1
    assert jobs.attempt(started(jobs, delivery(2, message_id="m2", count=2, again=True))) == 3


def test_where_the_broker_does_not_count_the_tries_that_failed_here_do() -> None:
    jobs = Jobs()
    for attempt in (1, 2, 3):
        job = started(jobs, delivery(attempt, again=attempt > 1))  # as a classic queue delivers it
        assert jobs.attempt(job) == attempt
        jobs.requeue(job)
    done(jobs, started(jobs, delivery(4, again=True)))
    assert jobs.attempt(started(jobs, delivery(5, 2, message_id="another", again=True))) == 1


def test_an_equal_request_that_was_never_delivered_has_no_tries_behind_it() -> None:
    jobs = Jobs()
    jobs.requeue(started(jobs, delivery(1)))
    assert jobs.attempt(started(jobs, delivery(2))) == 1


def test_the_body_of_a_request_that_has_its_result_can_be_forgotten_and_it_is_the_same_request() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1))
    with pytest.raises(ValueError, match=r"told of an event of a job that is replying or over$"):
        jobs.unburden(job)
    jobs.finished(job)
    jobs.unburden(job)
    assert job.delivery.body == b""
    assert isinstance(jobs.delivered(delivery(2)), Join)
    assert [each.tag for each in jobs.replied(job)] == [1, 2]
    jobs.unburden(job)


def test_an_adopted_delivery_is_no_attempt_here_or_after_it_went_back() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1, 1))
    for epoch in (1, 2):
        jobs.lost(epoch)
        assert jobs.delivered(delivery(1, epoch + 1, again=True, count=epoch)) == Adopt(job)
        assert jobs.attempt(job) == 1
    jobs.requeue(job)
    job = started(jobs, delivery(2, 3, again=True, count=3))
    assert jobs.attempt(job) == 2


def test_a_delivery_that_was_never_started_is_no_attempt() -> None:
    jobs = Jobs()
    jobs.delivered(delivery(1, 1))
    jobs.lost(1)
    assert jobs.attempt(started(jobs, delivery(1, 2, again=True, count=1))) == 1


def test_a_job_that_was_joined_by_a_delivery_with_more_failures_is_that_attempt() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1, count=1, again=True))
    jobs.delivered(delivery(2, count=3, again=True))
    jobs.delivered(delivery(3))
    assert jobs.attempt(job) == 4


def test_an_attempt_is_never_below_one() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1, 1))
    for epoch in (1, 2, 3):  # a broker that does not count
        jobs.lost(epoch)
        jobs.delivered(delivery(1, epoch + 1, again=True))
    assert jobs.attempt(job) == 1


def test_attempts_of_a_request_whose_job_has_ended_count_from_its_new_delivery() -> None:
    jobs = Jobs()
    job = started(jobs, delivery(1, 1))
    jobs.lost(1)
    jobs.delivered(delivery(1, 2, again=True, count=1))
    done(jobs, job)
    assert jobs.attempt(started(jobs, delivery(2, 2))) == 1
    jobs.requeue(jobs.running[0])
    assert jobs.attempt(started(jobs, delivery(3, 2, count=1, again=False))) == 2


def test_the_oldest_ended_jobs_are_forgotten_and_those_asked_for_are_kept() -> None:
    jobs = Jobs(kept_ids=2)
    for name in ("a", "b"):
        done(jobs, started(jobs, delivery(message_id=name)))
    assert isinstance(jobs.delivered(delivery(message_id="a", again=True)), Finished)
    done(jobs, started(jobs, delivery(message_id="c")))
    assert isinstance(jobs.delivered(delivery(message_id="a", again=True)), Finished)
    assert isinstance(jobs.delivered(delivery(message_id="c", again=True)), Finished)
    assert isinstance(jobs.delivered(delivery(message_id="b", again=True)), Run)


def test_jobs_without_a_message_id_push_out_no_ids() -> None:
    jobs = Jobs(kept_ids=1)
    done(jobs, started(jobs, delivery()))
    done(jobs, started(jobs, delivery(message_id=None)))
    assert isinstance(jobs.delivered(delivery(again=True)), Finished)


def test_no_ids_are_kept_where_none_are_wanted() -> None:
    jobs = Jobs(kept_ids=0)
    done(jobs, started(jobs, delivery()))
    assert isinstance(jobs.delivered(delivery(again=True)), Run)


@pytest.mark.parametrize("named", [True, False])
def test_memory_does_not_grow_with_the_number_of_requests(named: bool) -> None:
    jobs = Jobs(kept_ids=100)
    epoch = 0

    def work(requests: int) -> None:
        nonlocal epoch
        for _ in range(requests):
            epoch += 1
            unlike = f"{epoch:0255}"
            name = unlike if named else None
            job = started(jobs, delivery(1, 3 * epoch, reply_to=unlike, message_id=name))
            jobs.lost(3 * epoch)
            jobs.delivered(delivery(1, 3 * epoch + 1, again=True, reply_to=unlike, message_id=name))
            if epoch % 2:
                done(jobs, job)
            else:
                jobs.requeue(job)
            jobs.delivered(delivery(1, 3 * epoch + 2, reply_to=unlike, message_id=name))
            jobs.lost(3 * epoch + 2)

    work(500)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work(2000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000  # one string of each of them would be 600,000 bytes
