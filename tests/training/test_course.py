from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskpencil.training.course import COARSE, CountedCourse, Progress, TimedCourse, coarse_time


def at(step: int, batches: int = 10) -> Progress:
    return Progress(epoch=step // batches, batch=step % batches, step=step)


@given(epochs=st.integers(1, 20), coarse=st.integers(0, 20), batches=st.integers(1, 30))
def test_the_work_of_a_counted_course_grows_from_nothing_to_all(epochs: int, coarse: int, batches: int) -> None:
    course = CountedCourse(epochs, batches, min(coarse, epochs), validate_every=1)
    works = [course.work(at(step, batches)) for step in range(epochs * batches)]
    assert works == sorted(works)
    assert works[0] > 0
    assert works[-1] < 1
    assert works[0] == pytest.approx(1 - works[-1]) if coarse in (0, epochs) else True


def test_a_coarse_step_is_a_quarter_of_the_work() -> None:
    course = CountedCourse(epochs=2, batches=10, coarse_epochs=1, validate_every=1)
    coarse, fine = (course.work(at(step + 1)) - course.work(at(step)) for step in (3, 13))
    assert coarse == pytest.approx(fine / 4)
    assert [course.resolution(at(step)) for step in (0, 9, 10, 19)] == [COARSE, COARSE, 1, 1]
    assert [course.ended(at(step)) for step in (19, 20)] == [False, True]


def test_a_counted_course_validates_every_so_many_epochs_and_at_the_end() -> None:
    course = CountedCourse(epochs=7, batches=1, coarse_epochs=0, validate_every=3)
    assert [epoch for epoch in range(1, 8) if course.validates(at(epoch, 1))] == [3, 6]
    assert course.validates(Progress(epoch=7, ended=True))


def test_a_timed_course_ends_when_its_time_is_up_but_for_the_last_validation() -> None:
    course = TimedCourse(budget=100, coarse=0.25)
    assert not course.ended(Progress(seconds=50, other_seconds=39))
    assert not course.ended(Progress(seconds=50, other_seconds=39, validation_seconds=10))
    assert course.ended(Progress(seconds=50, other_seconds=40, validation_seconds=10))
    assert course.ended(Progress(seconds=70, saving_seconds=6, leaving_seconds=4, validation_seconds=20))
    assert course.work(Progress(seconds=300)) == 1
    assert [course.resolution(Progress(seconds=seconds)) for seconds in (0, 24, 26)] == [COARSE, COARSE, 1]


def test_a_timed_course_spends_about_a_tenth_of_its_time_on_validation() -> None:
    course = TimedCourse(budget=1000, coarse=0)
    assert not course.validates(Progress(seconds=99))
    assert course.validates(Progress(seconds=100))
    assert not course.validates(Progress(seconds=300, validated=100, validation_seconds=30))
    assert course.validates(Progress(seconds=400, validated=100, validation_seconds=30))
    assert course.validates(Progress(seconds=970, validated=960, ended=True))


def test_a_validation_that_takes_too_long_is_cut_short_and_never_made_before_the_end() -> None:
    course = TimedCourse(budget=100, coarse=0)
    slow = Progress(seconds=79, validation_seconds=500, saving_seconds=3, leaving_seconds=2)
    assert course.validation_end(slow) == 95
    assert course.training_end(slow) == 75
    assert not course.validates(slow)
    assert course.validates(replace(slow, ended=True))
    assert not course.ended(replace(slow, seconds=74))


def test_no_step_begins_that_the_time_does_not_suffice_for() -> None:
    course = TimedCourse(budget=100, coarse=0)
    assert not course.ended(Progress(seconds=80, step=8))
    assert course.ended(Progress(seconds=90, step=9))


def test_no_validation_begins_that_the_end_of_the_training_would_come_upon() -> None:
    course = TimedCourse(budget=100, coarse=0)
    assert course.validates(Progress(seconds=84, validation_seconds=5, saving_seconds=1))
    assert not course.validates(Progress(seconds=90, validation_seconds=5, saving_seconds=1))


def test_saving_for_longer_than_the_budget_leaves_no_time_to_train() -> None:
    assert TimedCourse(budget=10, coarse=0).ended(Progress(saving_seconds=11))


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
def test_a_budget_is_told_in_words_that_fit_its_number(seconds: float, words: str) -> None:
    assert str(TimedCourse(seconds, coarse=0)) == words


def test_one_epoch_is_told_in_the_singular() -> None:
    assert [str(CountedCourse(epochs, 1, 0, 1)) for epochs in (1, 2)] == ["1 epoch", "2 epochs"]


def test_more_steps_than_there_are_now_are_never_behind() -> None:
    course = CountedCourse(epochs=3, batches=20, coarse_epochs=0, validate_every=1)
    before_images_went = Progress(epoch=2, batch=24, step=104)
    assert course.behind(before_images_went) == course.total == 60
    assert course.behind(Progress(epoch=3, step=106)) == 60


def test_the_time_of_the_coarse_epochs_is_their_share_of_the_work() -> None:
    course = CountedCourse(epochs=20, batches=10, coarse_epochs=11, validate_every=1)
    boundary = (course.work(at(109)) + course.work(at(110))) / 2
    assert coarse_time(0.55) == pytest.approx(boundary, abs=0.01)


def test_progress_counts_on_in_the_batches_of_other_processes() -> None:
    progress = Progress(epoch=2, batch=6, step=46, loss_sum=3.0, processes=1)
    progress.share_among(2, batches=10)
    assert progress == Progress(epoch=2, batch=3, step=23, loss_sum=1.5, processes=2)
    progress.share_among(1, batches=20)
    assert progress == Progress(epoch=2, batch=6, step=46, loss_sum=3.0, processes=1)
