from hypothesis import given
from hypothesis import strategies as st

from maskpencil.training.schedule import rate_factor


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
