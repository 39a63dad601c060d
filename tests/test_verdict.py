"""What a comparison says about its numbers."""

import pytest

from segstill.verdict import Result, paired_interval


def test_an_interval_worked_out_by_hand():
    """Differences 1, 2, 3: mean 2, standard deviation 1, t(0.975, 2) = 4.303, half width 4.303 / sqrt(3) = 2.484."""
    assert paired_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.4843, 2 + 2.4843), abs=1e-3)


def test_many_seeds_use_an_approximation_of_t_that_is_close():
    """t(0.975, 20) = 2.086 and t(0.975, 100) = 1.984."""
    for n, t in ((21, 2.086), (101, 1.984)):
        differences = [float(i % 2) for i in range(n)]
        mean = sum(differences) / n
        deviation = (sum((d - mean) ** 2 for d in differences) / (n - 1)) ** 0.5
        low, high = paired_interval(differences) or (0, 0)
        assert (high - low) / 2 == pytest.approx(t * deviation / n**0.5, rel=2e-3)


def test_one_seed_has_no_interval_and_no_verdict():
    assert paired_interval([1.0]) is None
    assert Result(name="kd", mious={0: 0.5}, differences=(0.1,)).verdict == "one seed: no verdict"


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [((0.010, 0.011, 0.012), "better"), ((-0.010, -0.011, -0.012), "worse"), ((0.010, -0.011, 0.012), "within noise")],
)
def test_a_verdict_needs_an_interval_without_zero(differences, verdict):
    result = Result(name="kd", mious={}, differences=differences, interval=paired_interval(differences))
    assert result.verdict == verdict


def test_mean_and_deviation_are_those_of_a_sample():
    result = Result(name="kd", mious={0: 0.4, 1: 0.6})
    assert result.mean == pytest.approx(0.5)
    assert result.deviation == pytest.approx(0.1414, abs=1e-4)
    assert Result(name="kd", mious={}).mean is None
