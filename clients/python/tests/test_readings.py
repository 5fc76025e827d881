"""Messages of the daemon as typed data."""

from __future__ import annotations

import dataclasses
import math

import pytest

import clino
from clino import _readings
from clino.v1 import reports_pb2, types_pb2


def made(**fields: object) -> clino.Reading:
    return _readings.reading_of(reports_pb2.Reading(**fields))  # type: ignore[arg-type]


def test_a_reading_without_anything_has_nothing() -> None:
    reading = made(measure="loss", outcome=reports_pb2.OUTCOME_MEASURED)
    assert (reading.ended, reading.runs, reading.surface, reading.remark) == (None, (), None, None)
    assert reading.work == clino.Work(0.0, 0.0, 0.0, 0.0)


def test_what_the_budget_left_out_is_skipped() -> None:
    reading = made(measure="sam", outcome=reports_pb2.OUTCOME_SKIPPED, reason="predicted to take 2 s")
    assert (reading.outcome, reading.value, reading.reason) == ("skipped", None, "predicted to take 2 s")


@pytest.mark.parametrize(
    ("ended", "name"),
    [
        (reports_pb2.ENDED_UNSPECIFIED, None),
        (reports_pb2.ENDED_DRAWS, "draws"),
        (reports_pb2.ENDED_TARGET, "target"),
        (reports_pb2.ENDED_MAX_DRAWS, "max_draws"),
        (reports_pb2.ENDED_MAX_SECONDS, "max_seconds"),
        (99, None),
    ],
)
def test_what_ended_the_draws(ended: int, name: str | None) -> None:
    assert made(ended=ended).ended == name


def test_every_outcome_and_end_of_the_protocol_has_a_name() -> None:
    assert set(_readings._OUTCOMES) == set(reports_pb2.Outcome.values()) - {reports_pb2.OUTCOME_UNSPECIFIED}
    assert set(_readings._ENDED) == set(reports_pb2.Ended.values()) - {reports_pb2.ENDED_UNSPECIFIED}


def test_a_line_has_one_row() -> None:
    surface = made(surface=reports_pb2.Surface(dimensions=1, axis=[-1, 0, 1], losses=[3, 1, math.inf])).surface
    assert surface == clino.Surface(1, (-1.0, 0.0, 1.0), (3.0, 1.0, None))
    assert surface.grid == ((3.0, 1.0, None),)


def test_a_plane_has_a_row_for_each_coordinate_along_the_first_direction() -> None:
    losses = [1.0, 2.0, math.nan, 4.0]
    surface = made(surface=reports_pb2.Surface(dimensions=2, axis=[-0.5, 0.5], losses=losses)).surface
    assert surface == clino.Surface(2, (-0.5, 0.5), (1.0, 2.0, None, 4.0))
    assert surface.grid == ((1.0, 2.0), (None, 4.0))


def test_an_empty_surface_has_no_rows() -> None:
    assert clino.Surface(1, (), ()).grid == ()


def test_runs_remark_and_work() -> None:
    reading = made(
        runs=[
            reports_pb2.Quadrature(nodes=[-1.0, 0.5], weights=[0.25, 0.75]),
            reports_pb2.Quadrature(nodes=[2.0], weights=[1.0]),
        ],
        remark="the last step did not settle",
        work=types_pb2.Work(forwards=1.0, backwards=2.0, passes=3.5, operations=4e9),
    )
    assert reading.runs == (clino.Quadrature((-1.0, 0.5), (0.25, 0.75)), clino.Quadrature((2.0,), (1.0,)))
    assert reading.remark == "the last step did not settle"
    assert reading.work == clino.Work(forwards=1.0, backwards=2.0, passes=3.5, operations=4e9)


def test_parameters_come_back_in_their_kinds() -> None:
    parameters = {
        "exact": types_pb2.Value(flag=False),
        "draws": types_pb2.Value(number=4.0),
        "scope": types_pb2.Value(text=""),
        "alphas": types_pb2.Value(numbers=types_pb2.Numbers(values=[0.1, 1.0])),
    }
    found = made(parameters=parameters).parameters
    assert found == {"exact": False, "draws": 4.0, "scope": "", "alphas": (0.1, 1.0)}
    assert type(found["exact"]) is bool
    assert type(found["draws"]) is float


@pytest.mark.parametrize("kind", [clino.Planned, clino.Quadrature, clino.Reading, clino.Surface, clino.Work])
def test_what_comes_back_cannot_be_changed(kind: type) -> None:
    assert dataclasses.fields(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(kind)
