from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskpencil.training.schedule import COARSE, EpochSchedule, Progress, TimeBudgetSchedule, coarse_time, rate_factor


def at(step: int, batches: int = 10) -> Progress:
    return Progress(epoch=step // batches, batch=step % batches, step=step)


@given(epochs=st.integers(1, 20), coarse=st.integers(0, 20), batches=st.integers(1, 30))
def test_the_work_of_a_counted_schedule_grows_from_nothing_to_all(epochs: int, coarse: int, batches: int) -> None:
    schedule = EpochSchedule(epochs, batches, min(coarse, epochs), validate_every=1)
    works = [schedule.work(at(step, batches)) for step in range(epochs * batches)]
    assert works == sorted(works)
    assert works[0] > 0
    assert works[-1] < 1
    assert works[0] == pytest.approx(1 - works[-1]) if coarse in (0, epochs) else True


def test_a_coarse_step_is_a_quarter_of_the_work() -> None:
    schedule = EpochSchedule(epochs=2, batches=10, coarse_epochs=1, validate_every=1)
    coarse, fine = (schedule.work(at(step + 1)) - schedule.work(at(step)) for step in (3, 13))
    assert coarse == pytest.approx(fine / 4)
    assert [schedule.resolution(at(step)) for step in (0, 9, 10, 19)] == [COARSE, COARSE, 1, 1]
    assert [schedule.has_ended(at(step)) for step in (19, 20)] == [False, True]


def test_a_counted_schedule_validates_at_regular_intervals_and_at_the_end() -> None:
    schedule = EpochSchedule(epochs=7, batches=1, coarse_epochs=0, validate_every=3)
    assert [epoch for epoch in range(1, 8) if schedule.should_validate(at(epoch, 1))] == [3, 6]
    assert schedule.should_validate(Progress(epoch=7, ended=True))


def test_a_timed_schedule_ends_when_its_time_is_up_but_for_the_last_validation() -> None:
    schedule = TimeBudgetSchedule(budget=100, coarse=0.25)
    assert not schedule.has_ended(Progress(seconds=50, other_seconds=39))
    assert not schedule.has_ended(Progress(seconds=50, other_seconds=39, validation_seconds=10))
    assert schedule.has_ended(Progress(seconds=50, other_seconds=40, validation_seconds=10))
    assert schedule.has_ended(Progress(seconds=70, saving_seconds=6, graph_seconds=4, validation_seconds=20))
    assert schedule.work(Progress(seconds=300)) == 1
    assert [schedule.resolution(Progress(seconds=seconds)) for seconds in (0, 24, 26)] == [COARSE, COARSE, 1]


def test_a_timed_schedule_spends_about_a_tenth_of_its_time_on_validation() -> None:
    schedule = TimeBudgetSchedule(budget=1000, coarse=0)
    assert not schedule.should_validate(Progress(seconds=99))
    assert schedule.should_validate(Progress(seconds=100))
    assert not schedule.should_validate(Progress(seconds=300, validated=100, validation_seconds=30))
    assert schedule.should_validate(Progress(seconds=400, validated=100, validation_seconds=30))
    assert schedule.should_validate(Progress(seconds=970, validated=960, ended=True))


def test_a_validation_that_takes_too_long_is_cut_short_and_never_made_before_the_end() -> None:
    schedule = TimeBudgetSchedule(budget=100, coarse=0)
    slow = Progress(seconds=79, validation_seconds=500, saving_seconds=3, graph_seconds=2)
    assert schedule.validation_end(slow) == 95
    assert schedule.training_end(slow) == 75
    assert not schedule.should_validate(slow)
    assert schedule.should_validate(replace(slow, ended=True))
    assert not schedule.has_ended(replace(slow, seconds=74))


def test_no_step_begins_without_enough_time_for_it() -> None:
    schedule = TimeBudgetSchedule(budget=100, coarse=0)
    assert not schedule.has_ended(Progress(seconds=80, step=8))
    assert schedule.has_ended(Progress(seconds=90, step=9))


def test_no_validation_begins_that_would_exceed_the_time_of_the_training() -> None:
    schedule = TimeBudgetSchedule(budget=100, coarse=0)
    assert schedule.should_validate(Progress(seconds=84, validation_seconds=5, saving_seconds=1))
    assert not schedule.should_validate(Progress(seconds=90, validation_seconds=5, saving_seconds=1))


def test_saving_for_longer_than_the_budget_leaves_no_time_to_train() -> None:
    assert TimeBudgetSchedule(budget=10, coarse=0).has_ended(Progress(saving_seconds=11))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.25, "0.25 seconds"),
        (1, "1 second"),
        (59.6, "1 minute"),
        (60, "1 minute"),
        (90, "1 minute 30 seconds"),
        (1200, "20 minutes"),
        (5400, "1 hour 30 minutes"),
        (7200, "2 hours"),
    ],
)
def test_a_time_budget_is_shown_in_a_suitable_unit(seconds: float, words: str) -> None:
    assert str(TimeBudgetSchedule(seconds, coarse=0)) == words


def test_one_epoch_is_shown_in_the_singular() -> None:
    assert [str(EpochSchedule(epochs, 1, 0, 1)) for epochs in (1, 2)] == ["1 epoch", "2 epochs"]


def test_more_steps_than_there_are_now_are_never_behind() -> None:
    schedule = EpochSchedule(epochs=3, batches=20, coarse_epochs=0, validate_every=1)
    before_images_went = Progress(epoch=2, batch=24, step=104)
    assert schedule.done(before_images_went) == schedule.total == 60
    assert schedule.done(Progress(epoch=3, step=106)) == 60


def test_the_time_of_the_coarse_epochs_is_their_share_of_the_work() -> None:
    schedule = EpochSchedule(epochs=20, batches=10, coarse_epochs=11, validate_every=1)
    boundary = (schedule.work(at(109)) + schedule.work(at(110))) / 2
    assert coarse_time(0.55) == pytest.approx(boundary, abs=0.01)


def test_progress_counts_on_in_the_batches_of_other_processes() -> None:
    progress = Progress(epoch=2, batch=6, step=46, loss_sum=3.0, processes=1)
    progress.share_among(2, batches=10)
    assert progress == Progress(epoch=2, batch=3, step=23, loss_sum=1.5, processes=2)
    progress.share_among(1, batches=20)
    assert progress == Progress(epoch=2, batch=6, step=46, loss_sum=3.0, processes=1)


@given(st.floats(0, 1))
def test_one_cycle_stays_between_a_hundredth_and_one(progress):
    assert 0.01 <= rate_factor("one-cycle", progress) <= 1


def test_one_cycle_rises_for_a_tenth_and_falls_to_a_hundredth():
    factors = [rate_factor("one-cycle", (step + 0.5) / 1000) for step in range(1000)]
    assert factors[0] < 0.02
    assert factors[-1] < 0.011
    assert max(factors) > 0.99
    assert 95 <= factors.index(max(factors)) <= 105


def test_constant_is_one():
    assert rate_factor("constant", 0.3) == 1
