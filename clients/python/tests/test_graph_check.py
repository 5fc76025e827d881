"""What the live module says of a few rows, for the daemon to compare with the graph: against torch, row by row."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from clino import _graph_probes
from clino._graph_probes import Reader
from clino._model_check import Checker
from clino._notices import Notices
from clino.graph._compare import Question
from clino.v1 import snapshots_pb2, types_pb2

nn = torch.nn
functional = nn.functional
Check = snapshots_pb2.ModelCheck


def checked(model: Any, probe: Any, loss: Any, merged: bool = False) -> tuple[Check | None, list[str]]:
    notices = Notices(False)
    reader = Reader.of(model, loss)
    groups, _ = _graph_probes.groups({"en": probe}, model, reader)
    checker = Checker(groups, True, notices.remark, Question(loss, reader, merged))
    found = checker.check(model, set(model.state_dict()))
    return found, notices.remarks


def norms(check: Check | None) -> dict[str, float]:
    assert check is not None
    return {norm.tensor: norm.norm for norm in check.gradient_norms}


class Words(nn.Module):  # type: ignore[misc, name-defined]
    """A recurrent tagger with a statistic, dropout and a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.embed, self.rnn = nn.Embedding(9, 6), nn.LSTM(6, 6, batch_first=True, dropout=0.3, num_layers=2)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(6, 4)
        self.embed.requires_grad_(False)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, ids: Any) -> Any:
        self.calls += 1
        random.random()
        return self.head(self.drop(self.rnn(self.embed(ids))[0]))


def words() -> tuple[dict[str, Any], Any]:
    torch.manual_seed(0)
    ids, labels = torch.randint(0, 9, (12, 5)), torch.randint(0, 4, (12, 5))
    labels[torch.rand(12, 5) < 0.4] = -100
    labels[3], labels[6, 1:], labels[7] = -100, -100, -100
    return {"ids": ids, "labels": labels}, labels


def test_losses_are_means_of_rows_and_norms_those_of_all_units() -> None:
    model, (probe, labels) = Words().train(), words()
    state, seeds = copy.deepcopy(model.state_dict()), (torch.get_rng_state(), random.getstate())
    found, remarks = checked(model, probe, "token_cross_entropy")
    assert remarks == []
    assert found is not None
    assert found.dtype == types_pb2.DTYPE_F64
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), seeds[0])
    assert random.getstate() == seeds[1]
    assert all(part.training for part in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(
        weight is getattr(model.rnn, name)
        for weight, name in zip(model.rnn._flat_weights, model.rnn._flat_weights_names, strict=True)
    )

    places = list(found.rows)
    assert len(places) == 8
    assert not {3, 7} & set(places), "rows without a label that counts"
    twin = copy.deepcopy(model).double().eval()
    scores = twin(probe["ids"][places])
    for row, loss in enumerate(found.losses):
        expected = functional.cross_entropy(scores[row], labels[places][row])
        assert loss == pytest.approx(expected.item(), abs=1e-12)
    functional.cross_entropy(scores.flatten(0, 1), labels[places].flatten()).backward()
    expected_norms = {name: float(p.grad.norm()) for name, p in twin.named_parameters() if p.requires_grad}
    assert norms(found) == pytest.approx(expected_norms, abs=1e-12)


def test_a_shift_leaves_out_the_first_label() -> None:
    model, (probe, labels) = Words(), words()
    labels[4, 1:] = -100
    labels[4, 0] = 1
    found, _ = checked(model, probe, "causal_lm")
    assert found is not None
    assert 4 not in found.rows
    scores = copy.deepcopy(model).double().eval()(probe["ids"][list(found.rows)])
    expected = [
        functional.cross_entropy(s[:-1], y[1:]).item() for s, y in zip(scores, labels[list(found.rows)], strict=True)
    ]
    assert list(found.losses) == pytest.approx(expected, abs=1e-12)


LOSSES: list[tuple[Any, Any]] = [
    (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.1), "classes"),
    (nn.MSELoss(), "numbers"),
    (nn.BCEWithLogitsLoss(), "shares"),
    (lambda outputs, y: functional.mse_loss(outputs, y, reduction="none").mean(1), "numbers"),
]


@pytest.mark.parametrize(("loss", "kind"), LOSSES)
def test_other_losses(loss: Any, kind: str) -> None:
    torch.manual_seed(1)
    model, x = nn.Linear(4, 3), torch.randn(8, 4)
    labels = {"classes": torch.arange(8) % 3, "numbers": torch.randn(8, 3), "shares": torch.rand(8, 3)}[kind]
    found, remarks = checked(model, {"input": x, "labels": labels}, loss)
    assert remarks == []
    assert found is not None
    twin = copy.deepcopy(model).double()
    wide = copy.deepcopy(loss).double() if isinstance(loss, nn.Module) else loss
    labels = labels.double() if labels.is_floating_point() else labels
    rows = [float(wide(twin(x[row : row + 1].double()), labels[row : row + 1]).mean().detach()) for row in range(8)]
    assert list(found.losses) == pytest.approx(rows, abs=1e-12)
    wide(twin(x.double()), labels).mean().backward()
    expected = {name: float(p.grad.norm()) for name, p in twin.named_parameters()}
    assert norms(found) == pytest.approx(expected, abs=1e-12)


def test_tensors_have_the_names_of_the_snapshot() -> None:
    inner = nn.Linear(4, 3)
    probe = {"input": torch.randn(3, 4), "labels": torch.arange(3)}
    reader = Reader.of(inner, "cross_entropy")
    groups, _ = _graph_probes.groups(probe, inner, reader)
    for wrapped, prefix in ((nn.DataParallel(inner), "module."), (torch.compile(inner), "_orig_mod.")):
        checker = Checker(groups, True, Notices(False).remark, Question("cross_entropy", reader, False))
        found = checker.check(wrapped, set(wrapped.state_dict()))
        assert list(norms(found)) == [f"{prefix}weight", f"{prefix}bias"]


def test_tied_tensors_have_the_sum_of_their_gradients_under_the_first_name() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight
    x, y = torch.randn(5, 4), torch.arange(5) % 4
    found, _ = checked(model, {"input": x, "labels": y}, "cross_entropy")
    twin = copy.deepcopy(model).double()
    functional.cross_entropy(twin(x.double()), y).backward()
    assert norms(found) == pytest.approx({"0.weight": float(twin[0].weight.grad.norm())}, abs=1e-12)


def test_of_a_merged_model_all_weights_have_a_norm() -> None:
    model = nn.Linear(4, 3).requires_grad_(False)
    probe = {"input": torch.randn(3, 4), "labels": torch.arange(3)}
    assert list(norms(checked(model, probe, "cross_entropy", merged=True)[0])) == ["weight", "bias"]
    assert norms(checked(model, probe, "cross_entropy")[0]) == {}
    assert not any(parameter.requires_grad for parameter in model.parameters())


class Rounds(torch.autograd.Function):  # type: ignore[misc, name-defined]
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.round()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        raise RuntimeError("no backward here")


def test_a_forward_without_a_backward_has_losses_alone() -> None:
    class Stepped(nn.Linear):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return Rounds.apply(super().forward(x))

    found, _ = checked(Stepped(4, 3), {"x": torch.randn(3, 4), "labels": torch.arange(3)}, "cross_entropy")
    assert found is not None
    assert len(found.losses) == 3
    assert norms(found) == {}


def test_where_memory_is_short_fewer_rows_are_taken_and_then_none(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = {"input": torch.randn(8, 4), "labels": torch.arange(8) % 3}
    room = (64 << 20) + 4 * 4 * 4 + 2 * 4 * 256 * 4**2
    monkeypatch.setattr("clino._evaluation.room_on", lambda device: room)
    found, remarks = checked(nn.Linear(4, 3), probe, "cross_entropy")
    assert (found is None, remarks) == (False, [])
    assert found is not None
    assert 1 <= len(found.rows) < 8
    monkeypatch.setattr("clino._evaluation.room_on", lambda device: 1 << 20)
    found, remarks = checked(nn.Linear(4, 3), probe, "cross_entropy")
    assert found is None
    assert remarks[0].startswith(
        "the model is not compared with its graph: memory is short: 1 MiB are free, 64 MiB are"
    )


def test_a_label_without_a_class_is_told() -> None:
    probe = {"input": torch.randn(3, 4), "labels": torch.tensor([0, 1, 7])}
    found, remarks = checked(nn.Linear(4, 3), probe, "cross_entropy")
    assert found is None
    assert "its forward gives 3 classes, and the probe has label 7" in remarks[0]
    assert "labels are from 0 to 2" in remarks[0]


def test_nothing_is_compared_where_nothing_counts() -> None:
    probe = {"input": torch.randn(3, 4), "labels": np.full(3, -100)}
    assert checked(nn.Linear(4, 3), probe, "cross_entropy") == (None, [])
