from hypothesis import given
from hypothesis import strategies as st

from maskpencil.training.schedule import rate_factor


@given(st.integers(1, 5000))
def test_one_cycle_stays_between_a_hundredth_and_one(steps):
    factors = [rate_factor("one-cycle", step, steps) for step in range(0, steps, max(1, steps // 50))]
    assert all(0.01 <= factor <= 1 for factor in factors)


def test_one_cycle_rises_for_a_quarter_and_falls_to_a_hundredth():
    factors = [rate_factor("one-cycle", step, 1000) for step in range(1000)]
    assert factors[0] < 0.02
    assert factors[-1] < 0.011
    assert max(factors) > 0.99
    assert 240 <= factors.index(max(factors)) <= 260


def test_constant_is_one():
    assert rate_factor("constant", 3, 10) == 1
