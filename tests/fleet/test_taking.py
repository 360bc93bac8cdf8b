"""Taking work, rule by rule: what a worker sends when something happens."""

from __future__ import annotations

import pytest

from ollama_ext.fleet.taking import Action, Cancel, Consume, Get, Run, Settle, Source, Taking

A = Source(queue="chat.a", model="a")
A2 = Source(queue="embed.a", model="a")
B = Source(queue="chat.b", model="b")
C = Source(queue="chat.c", model="c")
ALONE = Source(queue="alone", model="x", exclusive=True)
LOW = Source(queue="batch.b", model="b", lane=1)


def worker(*sources: Source, slots: int = 1, dwell: float = 60.0) -> Taking[str]:
    """Return a worker that knows its sources and has no channel yet."""
    taking: Taking[str] = Taking(slots, dwell)
    assert taking.set_sources(sources, 0) == []
    return taking


def listening(*sources: Source, slots: int = 1) -> Taking[str]:
    """Return a worker that has found every queue empty and consumes from all of them."""
    taking = worker(*sources, slots=slots)
    actions = taking.opened(0)
    while any(isinstance(action, Get) for action in actions):
        (queue,) = (action.queue for action in actions if isinstance(action, Get))
        actions = taking.empty(queue, 0)
    return taking


def stopped(taking: Taking[str], how: str, queue: str) -> list[Action[str]]:
    """Have a worker take nothing more from a queue, in one of three ways; return what it does."""
    if how == "pause":
        return taking.pause(queue, 2)
    return taking.halt(2) if how == "halt" else taking.drain(2)


# One source


def test_one_source_has_one_consumer_with_as_many_messages_as_slots() -> None:
    assert worker(A, slots=4).opened(0) == [Consume("chat.a", 4)]


def test_the_source_s_own_slots_lower_its_prefetch_and_never_raise_it() -> None:
    few = Source(queue="chat.a", model="a", slots=2)
    assert worker(few, slots=4).opened(0) == [Consume("chat.a", 2)]
    assert worker(few, slots=1).opened(0) == [Consume("chat.a", 1)]


def test_one_source_is_never_cancelled_while_jobs_run_and_settles_at_once() -> None:
    taking = worker(A)
    taking.opened(0)
    for round_ in range(3):
        assert taking.arrived("chat.a", f"job {round_}", round_) == [Run(f"job {round_}")]
        assert taking.freed("chat.a", round_) == []
        assert taking.settle(f"job {round_}") == [Settle(f"job {round_}")]


@pytest.mark.parametrize("stop", ["pause", "halt", "drain"])
def test_one_source_is_cancelled_when_nothing_more_is_to_be_taken(stop: str) -> None:
    taking = worker(A)
    taking.opened(0)
    assert stopped(taking, stop, "chat.a") == [Cancel("chat.a")]
    assert not taking.idle
    assert taking.cancelled("chat.a", 2) == []
    assert taking.idle


# Several sources: asking


def test_a_free_slot_asks_one_queue_at_a_time_and_listens_when_all_are_empty() -> None:
    taking = worker(A, B)
    assert taking.opened(0) == [Get("chat.a")]
    assert not taking.idle
    assert taking.empty("chat.a", 0) == [Get("chat.b")]
    assert taking.empty("chat.b", 0) == [Consume("chat.a", 1), Consume("chat.b", 1)]
    assert taking.idle


def test_a_message_that_was_asked_for_runs_and_nothing_is_asked_without_a_slot() -> None:
    taking = worker(A, B)
    taking.opened(0)
    assert taking.arrived("chat.a", "job", 0) == [Run("job")]
    assert (taking.free, taking.running, taking.loaded) == (0, {"chat.a": 1}, "a")
    assert taking.settle("another") == [Settle("another")]
    assert taking.freed("chat.a", 1) == [Get("chat.a")]
    assert (taking.free, taking.running, taking.loaded) == (1, {}, "a")


def test_a_second_slot_asks_while_the_first_runs() -> None:
    taking = worker(A, B, slots=2)
    taking.opened(0)
    assert taking.arrived("chat.a", "job", 0) == [Run("job"), Get("chat.a")]
    assert taking.empty("chat.a", 0) == [Get("chat.b")]


def test_after_an_arrival_all_queues_are_asked_again_before_listening() -> None:
    taking = worker(A, B, slots=2)
    taking.opened(0)
    taking.empty("chat.a", 0)
    assert taking.arrived("chat.b", "job", 0) == [Run("job"), Get("chat.b")]
    assert taking.empty("chat.b", 0) == [Get("chat.a")]
    assert taking.empty("chat.a", 0) == [Consume("chat.a", 1), Consume("chat.b", 1)]


def test_the_queues_of_the_loaded_model_come_first_asked_longest_ago_first() -> None:
    taking = worker(B, A, A2)
    taking.opened(0)
    taking.empty("chat.b", 0)
    taking.arrived("chat.a", "job", 0)
    assert taking.freed("chat.a", 59) == [Get("embed.a")]
    assert taking.empty("embed.a", 59) == [Get("chat.a")]
    assert taking.empty("chat.a", 59) == [Get("chat.b")]


def test_after_dwell_the_others_come_first_least_recently_served_first() -> None:
    taking = worker(A, B, C)
    taking.opened(0)
    for queue, moment in (("chat.a", 0), ("chat.b", 60), ("chat.c", 120)):
        assert taking.arrived(queue, "job", moment) == [Run("job")]
        following = {"chat.a": "chat.b", "chat.b": "chat.c", "chat.c": "chat.a"}[queue]
        assert taking.freed(queue, moment + 59) == [Get(queue)]
        taking.arrived(queue, "job", moment + 59)
        assert taking.freed(queue, moment + 60) == [Get(following)]


def test_lanes_are_served_in_order_whatever_model_is_loaded() -> None:
    taking = worker(LOW, A, B)
    taking.opened(0)
    taking.arrived("chat.a", "job", 0)
    taking.freed("chat.a", 70)
    taking.arrived("chat.b", "job", 70)
    assert taking.freed("chat.b", 71) == [Get("chat.b")]
    assert taking.empty("chat.b", 71) == [Get("chat.a")]
    assert taking.empty("chat.a", 71) == [Get("batch.b")]


def test_the_others_stay_first_after_dwell_until_one_of_them_has_something() -> None:
    taking = worker(A, B)
    taking.opened(0)
    taking.arrived("chat.a", "job", 0)
    for now in (60, 61, 62):
        assert taking.freed("chat.a", now) == [Get("chat.b")]
        assert taking.empty("chat.b", now) == [Get("chat.a")]
        assert taking.arrived("chat.a", "job", now) == [Run("job")]


def test_a_queue_of_the_loaded_model_that_was_empty_goes_behind_those_asked_before_it() -> None:
    third = Source(queue="generate.a", model="a")
    taking = worker(A2, third, A)
    taking.opened(0)
    taking.empty("embed.a", 0)
    taking.empty("generate.a", 0)
    taking.arrived("chat.a", "job", 0)
    assert taking.freed("chat.a", 1) == [Get("embed.a")]
    assert taking.empty("embed.a", 1) == [Get("generate.a")]
    taking.arrived("generate.a", "job", 1)
    assert taking.freed("generate.a", 2) == [Get("chat.a")]
    assert taking.empty("chat.a", 2) == [Get("embed.a")]


def upper_job(taking: Taking[str], actions: list[Action[str]], queue: str, now: float) -> list[Action[str]]:
    """Have a job come from a queue of the upper lane, and end; return what is done then."""
    while actions != [Get(queue)]:
        actions = refused(taking, actions, now)
    assert taking.arrived(queue, "job", now) == [Run("job")]
    return taking.freed(queue, now)


def lower_asked(taking: Taking[str], actions: list[Action[str]], now: float) -> str:
    """Find the upper lane empty; return which queue of the lower one is asked first."""
    while True:
        (get,) = actions
        assert isinstance(get, Get)
        if get.queue.startswith("batch"):
            return get.queue
        actions = refused(taking, actions, now)


def refused(taking: Taking[str], actions: list[Action[str]], now: float) -> list[Action[str]]:
    """Answer a question with nothing."""
    (get,) = actions
    assert isinstance(get, Get)
    return taking.empty(get.queue, now)


def lower(model: str) -> Source:
    """Return a source in the lower lane."""
    return Source(queue=f"batch.{model}", model=model, lane=1)


def test_a_lane_that_follows_what_another_one_loads_does_so_for_no_longer_than_dwell() -> None:
    taking = worker(A, C, lower("a"), lower("c"), lower("b"))
    actions = taking.opened(1000)
    for now, model in ((1000, "a"), (1020, "c"), (1040, "a"), (1059, "c")):
        actions = upper_job(taking, actions, f"chat.{model}", now)
        assert lower_asked(taking, actions, now) == f"batch.{model}"
        taking.arrived(f"batch.{model}", "job", now)
        actions = taking.freed(f"batch.{model}", now)
    actions = upper_job(taking, actions, "chat.a", 1060)
    assert lower_asked(taking, actions, 1060) == "batch.b"


def test_a_lane_begins_a_turn_of_dwell_with_the_other_it_serves_though_another_lane_loaded_it() -> None:
    taking = worker(B, lower("a"), lower("b"), lower("c"))
    actions = taking.opened(1000)
    assert lower_asked(taking, actions, 1000) == "batch.a"
    taking.arrived("batch.a", "job", 1000)
    actions = upper_job(taking, taking.freed("batch.a", 1060), "chat.b", 1060)
    assert lower_asked(taking, actions, 1060) == "batch.b"
    taking.arrived("batch.b", "job", 1060)
    assert lower_asked(taking, taking.freed("batch.b", 1119), 1119) == "batch.b"
    taking.arrived("batch.b", "job", 1119)
    assert lower_asked(taking, taking.freed("batch.b", 1120), 1120) == "batch.c"


def test_a_source_with_all_its_own_slots_taken_is_not_asked_until_one_is_free() -> None:
    few = Source(queue="chat.a", model="a", slots=1)
    taking = worker(few, B, slots=3)
    taking.opened(0)
    assert taking.arrived("chat.a", "job", 0) == [Run("job"), Get("chat.b")]
    assert taking.empty("chat.b", 0) == [Consume("chat.b", 1)]
    assert taking.freed("chat.a", 1) == [Consume("chat.a", 1)]


def test_a_paused_source_is_neither_asked_nor_consumed_even_if_paused_before_it_was_one() -> None:
    taking = worker(B)
    taking.pause("chat.a", 0)
    taking.set_sources([A, B, C], 0)
    taking.pause("chat.c", 0)
    assert taking.opened(0) == [Get("chat.b")]
    assert taking.empty("chat.b", 0) == [Consume("chat.b", 1)]
    assert taking.resume("chat.c", 0) == [Consume("chat.c", 1)]
    assert taking.resume("chat.a", 0) == [Consume("chat.a", 1)]


# Several sources: listening


def test_the_first_delivery_cancels_all_consumers() -> None:
    taking = listening(A, B)
    assert taking.arrived("chat.b", "job", 0) == [Run("job"), Cancel("chat.a"), Cancel("chat.b")]


def test_nothing_is_asked_or_settled_before_the_last_cancel_ok() -> None:
    taking = listening(A, B)
    taking.arrived("chat.b", "job", 0)
    assert taking.freed("chat.b", 1) == []
    assert taking.settle("job") == []
    assert taking.cancelled("chat.a", 1) == []
    assert taking.cancelled("chat.b", 1) == [Settle("job"), Get("chat.b")]


def test_what_was_delivered_in_the_race_is_held_and_runs_next_before_anything_is_asked() -> None:
    taking = listening(A, B, C)
    taking.arrived("chat.a", "first", 0)
    assert taking.arrived("chat.b", "second", 0) == []
    assert taking.arrived("chat.c", "third", 0) == []
    assert taking.held == ["second", "third"]
    for queue in ("chat.a", "chat.b", "chat.c"):
        assert taking.cancelled(queue, 0) == []
    assert taking.freed("chat.a", 1) == [Run("second")]
    assert taking.freed("chat.b", 2) == [Run("third")]
    assert taking.held == []
    assert taking.freed("chat.c", 3) == [Get("chat.c")]


def test_of_what_was_delivered_in_the_race_the_loaded_model_s_runs_first() -> None:
    taking = listening(A, B, A2)
    taking.arrived("chat.a", "first", 0)
    taking.arrived("chat.b", "second", 0)
    taking.arrived("embed.a", "third", 0)
    assert taking.freed("chat.a", 1) == [Run("third")]


def test_what_was_delivered_in_the_race_runs_at_once_if_there_is_a_slot() -> None:
    taking = listening(A, B, slots=2)
    taking.arrived("chat.a", "first", 0)
    assert taking.arrived("chat.b", "second", 0) == [Run("second")]


def test_nothing_is_asked_before_the_last_consumer_has_ended() -> None:
    taking = listening(A, B)
    assert taking.arrived("chat.a", "job", 0) == [Run("job"), Cancel("chat.a"), Cancel("chat.b")]
    assert taking.cancelled("chat.a", 0) == []
    taking.freed("chat.a", 0)
    assert taking.cancelled("chat.b", 0) == [Get("chat.a")]


def test_after_cancel_ok_a_second_slot_asks_again() -> None:
    taking = listening(A, B, slots=2)
    taking.arrived("chat.b", "job", 0)
    taking.cancelled("chat.b", 0)
    assert taking.cancelled("chat.a", 0) == [Get("chat.b")]


def test_a_delivery_of_a_job_that_runs_already_takes_no_slot_and_still_ends_the_listening() -> None:
    taking = listening(A, B)
    assert taking.arrived("chat.b", "again", 0, absorbed=True) == [Cancel("chat.a"), Cancel("chat.b")]
    assert (taking.free, taking.held) == (1, [])


def test_pausing_while_listening_cancels_that_consumer_only() -> None:
    taking = listening(A, B)
    assert taking.pause("chat.a", 0) == [Cancel("chat.a")]
    assert taking.resume("chat.a", 0) == []
    assert taking.cancelled("chat.a", 0) == [Consume("chat.a", 1)]


def test_a_consumer_that_the_broker_cancelled_is_paused_until_resumed() -> None:
    taking = listening(A, B)
    assert taking.consumer_gone("chat.a", 0) == []
    assert taking.resume("chat.a", 0) == [Consume("chat.a", 1)]


def test_a_consumer_that_both_sides_cancel_still_awaits_its_cancel_ok() -> None:
    taking = listening(A, B)
    taking.arrived("chat.a", "job", 0)
    taking.freed("chat.a", 0)
    assert taking.consumer_gone("chat.b", 0) == []
    assert taking.cancelled("chat.a", 0) == []
    assert taking.cancelled("chat.b", 0) == [Get("chat.a")]


def test_a_removed_source_whose_consumer_both_sides_cancel_still_awaits_its_cancel_ok() -> None:
    taking = listening(A, B, C)
    assert taking.set_sources([A, C], 0) == [Cancel("chat.b")]
    assert taking.consumer_gone("chat.b", 0) == []
    assert not taking.idle
    assert taking.cancelled("chat.b", 0) == []
    assert taking.idle


# Exclusive sources


def test_an_exclusive_source_has_a_permanent_consumer_and_is_never_asked() -> None:
    taking = worker(A, ALONE, slots=4)
    assert taking.opened(0) == [Get("chat.a"), Consume("alone", 1)]
    assert taking.empty("chat.a", 0) == [Consume("chat.a", 1)]
    assert taking.arrived("chat.a", "job", 0) == [Run("job"), Cancel("chat.a")]


def test_a_single_exclusive_source_has_prefetch_one_whatever_the_slots() -> None:
    assert worker(ALONE, slots=4).opened(0) == [Consume("alone", 1)]


def test_the_delivery_of_an_exclusive_source_is_held_while_no_slot_is_free_and_runs_in_its_turn() -> None:
    taking = worker(A, ALONE)
    taking.opened(0)
    taking.arrived("chat.a", "job", 0)
    assert taking.arrived("alone", "patient", 1) == []
    assert taking.held == ["patient"]
    assert taking.freed("chat.a", 2) == [Get("chat.a")]
    taking.arrived("chat.a", "another", 2)
    assert taking.freed("chat.a", 60) == [Run("patient")]


def test_the_delivery_of_an_exclusive_source_runs_when_the_queues_before_it_are_empty() -> None:
    taking = worker(A, B, ALONE)
    taking.opened(0)
    taking.arrived("chat.a", "job", 0)
    taking.arrived("alone", "patient", 1)
    assert taking.freed("chat.a", 2) == [Get("chat.a")]
    assert taking.empty("chat.a", 2) == [Get("chat.b")]
    assert taking.empty("chat.b", 2) == [Run("patient")]


def test_the_delivery_of_an_exclusive_source_to_a_worker_that_listens_runs_at_once() -> None:
    taking = listening(A, B, ALONE)
    assert taking.arrived("alone", "job", 1) == [Run("job"), Cancel("chat.a"), Cancel("chat.b")]


def test_what_is_held_for_its_source_s_own_slots_runs_when_one_is_free_while_the_worker_listens() -> None:
    alone = Source(queue="alone", model="x", exclusive=True, slots=1)
    taking = listening(A, alone, slots=3)
    taking.arrived("alone", "first", 0)
    taking.lost()
    assert taking.opened(1) == [Get("chat.a"), Consume("alone", 1)]
    assert taking.arrived("alone", "second", 1) == []
    assert taking.empty("chat.a", 1) == [Get("chat.a")]
    assert taking.empty("chat.a", 1) == [Consume("chat.a", 1)]
    assert taking.held == ["second"]
    assert taking.freed("alone", 2) == [Run("second"), Cancel("chat.a")]


@pytest.mark.parametrize("stop", ["pause", "halt", "drain"])
def test_what_an_exclusive_source_has_delivered_runs_also_when_nothing_more_is_taken(stop: str) -> None:
    taking = worker(A, ALONE)
    taking.opened(0)
    taking.arrived("chat.a", "job", 0)
    taking.arrived("alone", "patient", 1)
    stopped(taking, stop, "alone")
    assert taking.freed("chat.a", 3) == [Run("patient")]


# The whole worker


def test_a_halted_worker_cancels_and_asks_nothing_and_asks_before_it_listens_again() -> None:
    taking = listening(A, B)
    assert taking.halt(0) == [Cancel("chat.a"), Cancel("chat.b")]
    taking.cancelled("chat.a", 1)
    assert taking.cancelled("chat.b", 1) == []
    assert taking.go(2) == [Get("chat.a")]


def test_a_worker_that_drains_runs_what_is_held_and_takes_nothing_more() -> None:
    taking = listening(A, B)
    taking.arrived("chat.a", "first", 0)
    taking.arrived("chat.b", "second", 0)
    assert taking.drain(0) == []
    taking.cancelled("chat.a", 0)
    taking.cancelled("chat.b", 0)
    assert taking.freed("chat.a", 1) == [Run("second")]
    assert taking.freed("chat.b", 2) == []
    assert taking.go(3) == []
    assert taking.idle


def test_the_answer_to_a_question_that_was_under_way_runs_though_the_worker_drains() -> None:
    taking = worker(A, B)
    taking.opened(0)
    taking.drain(0)
    assert taking.arrived("chat.a", "job", 0) == [Run("job")]


def test_a_lost_channel_takes_held_messages_with_it_and_leaves_jobs_their_slots() -> None:
    taking = listening(A, B)
    taking.arrived("chat.a", "first", 0)
    taking.arrived("chat.b", "second", 0)
    taking.settle("of the old channel")
    taking.lost()
    assert (taking.held, taking.free, taking.running) == ([], 0, {"chat.a": 1})
    assert taking.opened(1) == []
    assert taking.freed("chat.a", 2) == [Get("chat.a")]


def test_a_question_that_was_lost_is_asked_again() -> None:
    taking = worker(A, B)
    taking.opened(0)
    taking.lost()
    assert taking.idle
    assert taking.opened(1) == [Get("chat.a")]


def test_the_one_source_is_consumed_again_at_once_so_that_a_running_job_s_message_can_come_back() -> None:
    taking = worker(A)
    taking.opened(0)
    taking.arrived("chat.a", "job", 0)
    taking.lost()
    assert taking.opened(1) == [Consume("chat.a", 1)]
    assert taking.arrived("chat.a", "job again", 1, absorbed=True) == []
    assert taking.freed("chat.a", 2) == []


def test_an_end_that_is_told_twice_is_refused() -> None:
    taking = worker(A)
    with pytest.raises(ValueError, match=r"no job of queue 'chat\.a' runs"):
        taking.freed("chat.a", 0)


# Other sources


def test_a_new_source_is_consumed_at_once_while_listening_and_a_removed_one_is_cancelled() -> None:
    taking = listening(A, B)
    assert taking.set_sources([A, B, C], 0) == [Consume("chat.c", 1)]
    assert taking.set_sources([A, C], 0) == [Cancel("chat.b")]
    assert taking.cancelled("chat.b", 0) == []
    with pytest.raises(KeyError, match=r"chat\.b"):
        taking.freed("chat.b", 0)


def test_a_source_that_is_new_or_resumed_while_others_are_asked_is_asked_before_the_worker_listens() -> None:
    taking = worker(A, B, C)
    taking.pause("chat.c", 0)
    taking.opened(0)
    assert taking.empty("chat.a", 0) == [Get("chat.b")]
    assert taking.set_sources([A, B, C, A2], 0) == []
    assert taking.empty("chat.b", 0) == [Get("chat.a")]
    assert taking.empty("chat.a", 0) == [Get("chat.b")]
    assert taking.empty("chat.b", 0) == [Get("embed.a")]
    assert taking.resume("chat.c", 0) == []
    for queue, following in (("embed.a", "chat.a"), ("chat.a", "chat.b"), ("chat.b", "chat.c")):
        assert taking.empty(queue, 0) == [Get(following)]


def test_what_is_held_of_a_removed_source_still_runs() -> None:
    taking = listening(A, B, C)
    taking.arrived("chat.a", "first", 0)
    taking.arrived("chat.b", "second", 0)
    taking.set_sources([A, C], 0)
    for queue in ("chat.a", "chat.b", "chat.c"):
        taking.cancelled(queue, 0)
    assert taking.freed("chat.a", 1) == [Run("second")]
    assert taking.freed("chat.b", 2) == [Get("chat.c")]


def test_the_answer_of_a_source_removed_meanwhile_runs() -> None:
    taking = worker(A, B, C)
    taking.opened(0)
    assert taking.set_sources([B, C], 0) == []
    assert taking.arrived("chat.a", "job", 0) == [Run("job")]
    assert taking.freed("chat.a", 0) == [Get("chat.b")]


def test_a_second_source_ends_the_permanent_consumer_of_the_first() -> None:
    taking = worker(A, slots=3)
    taking.opened(0)
    assert taking.set_sources([A, B], 0) == [Cancel("chat.a")]
    assert taking.arrived("chat.a", "late", 0) == [Run("late")]
    assert taking.cancelled("chat.a", 0) == [Get("chat.a")]


def test_the_last_source_left_gets_its_permanent_consumer_after_the_answer_to_a_question() -> None:
    taking = worker(A, B, slots=3)
    taking.opened(0)
    assert taking.set_sources([A], 0) == []
    assert taking.empty("chat.a", 0) == [Consume("chat.a", 3)]


def test_without_sources_nothing_is_sent() -> None:
    taking = worker()
    assert taking.opened(0) == []
    assert taking.idle


def test_sources_and_actions_are_values() -> None:
    values = [A, Get("q"), Consume("q", 1), Cancel("q"), Run("job"), Settle("job")]
    assert len({*values, *values}) == len(values)
    with pytest.raises(TypeError):
        Source("q", "m")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] - refused
