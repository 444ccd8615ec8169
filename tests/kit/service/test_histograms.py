"""Measurements as EdgeX tells them."""

import statistics

import pytest
from edgex_kit.service.histograms import Histogram


def test_the_numbers_are_those_of_what_was_measured() -> None:
    measured = [3.0, 12.0, 12.5, 80.0, 7000.0]
    histogram = Histogram("Ms")
    for value in measured:
        histogram.add(value)
    fields = {field.name: field.value for field in histogram.fields()}
    assert fields == {
        "histogram-count": 5,
        "histogram-min": 3.0,
        "histogram-max": 7000.0,
        "histogram-mean": pytest.approx(statistics.mean(measured)),
        "histogram-stddev": pytest.approx(statistics.stdev(measured)),
        "histogram-variance": pytest.approx(statistics.variance(measured)),
    }


def test_nothing_measured_is_zeros() -> None:
    assert {field.value for field in Histogram("Ms").fields()} == {0}


def test_buckets_grow_and_end_with_everything() -> None:
    histogram = Histogram("Ms", bounds=(1.0, 10.0))
    for value in (0.5, 1.0, 5.0, 50.0):
        histogram.add(value)
    assert histogram.cumulative() == [("1", 2.0), ("10", 3.0), ("+Inf", 4.0)]
