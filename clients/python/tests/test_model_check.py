"""What a live module is asked, and that nothing of it or around it is changed by that."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from fake import FakeDaemon
from support import begin, probes, until, weights

from clino import _probes
from clino._model_check import Checker, rows_of
from clino._notices import Notices
from clino._output import PROBABILITIES, SIGMOID
from clino._rows import Rows, UncheckedError
from clino._settings import check_of
from clino.v1 import runs_pb2, types_pb2

torch = pytest.importorskip("torch")
nn = torch.nn


def groups(given: dict[str, Any]) -> list[runs_pb2.ProbeGroup]:
    return _probes.groups(given, "{}")[0]


def rows(examples: int = 20) -> Rows:
    found = rows_of(groups(probes(examples)))
    assert found is not None
    return found


class Noisy(nn.Module):  # type: ignore[misc, name-defined]
    """Draws from every generator, counts its calls in a buffer, and forgets that it is evaluated."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(size, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(3))
        self.seen: list[tuple[bool, bool, bool, Any]] = []

    def forward(self, x: Any) -> Any:
        z = self.body(x)
        self.calls += 1
        self.mean += z.detach().mean(0)
        torch.rand(3), random.random(), np.random.random()
        grown = torch.is_grad_enabled()
        self.seen.append((self.training, grown, torch.is_autocast_enabled("cpu"), z.dtype))
        return z


def evaluate(module: Any, rows: Rows) -> tuple[list[float], str]:
    from clino import _evaluation

    found = _evaluation.losses(module, rows)
    return found.losses, found.dtype


def reference(module: Any, rows: Rows) -> list[float]:
    x = torch.from_numpy(rows.columns["inputs"].copy())
    z = module.double()(x)
    found: list[float] = nn.functional.cross_entropy(z, torch.tensor(rows.labels), reduction="none").tolist()
    return found


def test_rows_come_from_all_over_the_first_group() -> None:
    probe = probes(100)["en"]
    found = rows_of(groups({"de": probe, "en": probes()["en"]}))
    assert found is not None
    assert (found.group, found.places) == ("de", (0, 12, 25, 37, 50, 62, 75, 87))
    assert (found.columns["inputs"] == probe["inputs"][list(found.places)]).all()
    assert (found.labels == probe["labels"][list(found.places)]).all()
    few = rows_of(groups(probes(3)))
    assert few is not None
    assert few.places == (0, 1, 2)
    (uneven,) = groups(probes())
    uneven.probe.tensors[0].CopyFrom(groups(probes(7))[0].probe.tensors[0])
    assert rows_of([uneven]) is None
    assert rows_of([]) is None


def test_everything_is_afterwards_as_it_was() -> None:
    module = Noisy()
    module.body[0].eval()  # a frozen part in a module that trains
    x = rows()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    with torch.autocast("cpu", torch.bfloat16):
        evaluate(module, x)
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert all(np.array_equal(one, other) for one, other in zip(np.random.get_state(), states[2], strict=True))
    assert [part.training for part in module.modules()] == [True, True, False, True, True]
    assert int(module.calls) == 0
    assert not module.mean.any()
    assert all(p.dtype == torch.float32 and p.grad is None and p.requires_grad for p in module.parameters())
    assert set(module.seen) == {(False, False, False, torch.float64)}


def test_everything_is_as_it_was_also_after_a_forward_that_fails() -> None:
    class Fails(Noisy):
        def forward(self, x: Any) -> Any:
            super().forward(x)
            raise RuntimeError("no such head")

    module = Fails()
    states = torch.get_rng_state(), random.getstate()
    with pytest.raises(RuntimeError, match="no such head"):
        evaluate(module, rows())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert all(part.training for part in module.modules())
    assert int(module.calls) == 0
    assert all(p.dtype == torch.float32 for p in module.parameters())
    assert torch.is_grad_enabled()


def test_losses_are_those_of_the_module_in_evaluation_mode() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.9), nn.Linear(8, 3))
    found, dtype = evaluate(module, rows())
    assert dtype == "float64"
    assert found == pytest.approx(reference(module.eval(), rows()), abs=1e-14)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_a_module_of_16_bits_is_evaluated_in_more(kind: str) -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)).to(getattr(torch, kind))
    found, dtype = evaluate(module, rows())
    assert dtype == "float64"
    assert {str(p.dtype) for p in module.parameters()} == {f"torch.{kind}"}
    assert found == pytest.approx(reference(module, rows()), abs=1e-14)


def test_the_least_precise_format_of_any_operation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return self.body(x).bfloat16().to(x.dtype)

    class Autocast(Half):
        def forward(self, x: Any) -> Any:
            with torch.autocast("cpu", torch.bfloat16):
                return self.body(x).float()

    class Softmax(Half):
        def forward(self, x: Any) -> Any:
            return torch.log_softmax(self.body(x), -1, dtype=torch.float32)

    assert evaluate(Half(), rows())[1] == "bfloat16"
    assert evaluate(Softmax(), rows())[1] == "float32"
    # Autocast leaves float64 alone; where there is no room for that, it is what counts.
    assert evaluate(Autocast(), rows())[1] == "float32"
    monkeypatch.setattr("clino._evaluation.SMALL", 0)
    assert evaluate(Autocast(), rows())[1] == "float32"
    monkeypatch.setattr("clino._evaluation.room_on", lambda device: (64 << 20) + 256 * 16)
    assert evaluate(Autocast(), rows())[1] == "bfloat16"
    assert evaluate(nn.Linear(4, 3).bfloat16(), rows())[1] == "bfloat16"


def test_probabilities_are_as_good_as_scores() -> None:
    inner = nn.Linear(4, 3)
    expected = evaluate(inner, rows())[0]
    for end in (nn.Softmax(-1), nn.LogSoftmax(-1)):
        assert evaluate(nn.Sequential(inner, end), rows())[0] == pytest.approx(expected, abs=1e-12)


def test_wrappers_are_looked_through(tmp_path: Any) -> None:
    from torch.nn.parallel import DistributedDataParallel

    inner = nn.Linear(4, 3)
    expected = evaluate(inner, rows())
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        wrapped: Any = DistributedDataParallel(inner)
        wrapped.forward = lambda *_: pytest.fail("the forward of the wrapper may be a collective")
        assert evaluate(wrapped, rows()) == expected
    finally:
        torch.distributed.destroy_process_group()
    assert evaluate(nn.DataParallel(inner), rows()) == expected
    assert evaluate(torch.compile(inner), rows()) == expected


class FSDPModule:
    """Named like the class that `fully_shard` mixes in."""


class Sharded(nn.Linear, FSDPModule):  # type: ignore[misc, name-defined]
    pass


def marked(name: str, value: object = 1) -> Any:
    module = nn.Linear(4, 3)
    setattr(module.bias, name, value)
    return module


@pytest.mark.parametrize(
    ("module", "word"),
    [
        (nn.Sequential(Sharded(4, 3)), "FSDP"),
        (marked("ds_id"), "ZeRO"),
        (marked("full_tensor"), "DTensor"),
        (marked("tensor_model_parallel", True), "tensor parallel"),
        (nn.Linear(4, 3, device="meta"), "meta"),
    ],
)
def test_a_forward_that_may_wait_for_other_ranks_is_never_made(module: Any, word: str) -> None:
    module.forward = lambda *_: pytest.fail("no forward")
    with pytest.raises(UncheckedError, match=word):
        evaluate(module, rows())


def test_what_cannot_be_seen_into_is_left_out() -> None:
    module = nn.Sequential(torch.jit.trace(nn.Linear(4, 3), torch.zeros(1, 4)))
    with pytest.raises(UncheckedError, match="TorchScript"):
        evaluate(module, rows())


def test_the_compiler_is_not_loaded_for_an_evaluation() -> None:
    program = (
        "import sys, numpy, torch\n"
        "from clino import _evaluation, _rows\n"
        "rows = _rows.Rows('en', (0,), {'inputs': numpy.zeros((1, 4))}, numpy.zeros(1, int))\n"
        "_evaluation.losses(torch.nn.Linear(4, 3), rows)\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_where_memory_is_short_it_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("clino._evaluation.room_on", lambda device: 1 << 20)
    checker = Checker(groups(probes()), True, Notices(False).remark)
    assert checker.check(nn.Linear(4, 3)) is None
    assert checker.check(nn.Linear(4, 3)) is None
    assert [record.getMessage() for record in caplog.records] == [
        "clino: the model is not compared with its configuration: memory is short: 1 MiB are free, 64 MiB are needed; "
        "readings are of the model that the configuration describes, which may differ from the trainer's: free some, "
        "or skip the comparison with check=False"
    ]


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda self, batch, index: batch["x"], "TypeError: "),
        (lambda self, x: x.sum(), "shape [], a single number such as a loss, expected logits"),
        (lambda self, x: x[0], "shape [4], expected logits of shape [1, classes]"),
        (lambda self, x: {"loss": x, "score": x}, "a dict of loss, score, none of which is called logits, expected"),
        (lambda self, x: {}, "a dict of nothing, none of which is called logits, expected"),
    ],
)
def test_what_gives_no_scores_is_left_out_and_said(forward: Any, words: str, caplog: pytest.LogCaptureFixture) -> None:
    module = type("Other", (nn.Linear,), {"forward": forward})(4, 3)
    notices = Notices(False)
    checker = Checker(groups(probes()), True, notices.remark)
    assert checker.check(module) is None
    assert checker.check(module) is None
    (said,) = (record.getMessage() for record in caplog.records)
    assert words in said
    assert said.endswith("or check=False")
    assert [f"clino: {remark}" for remark in notices.remarks] == [said]


def test_fewer_classes_than_labels_are_said_with_both_numbers() -> None:
    with pytest.raises(UncheckedError, match="its forward gives 1 class, and the probe has label 2") as raised:
        evaluate(nn.Linear(4, 1), rows())
    assert raised.value.advice == "labels are from 0 to 0: compare the probe's with the model's num_labels"


TASKS: list[tuple[str, dict[str, Any], str]] = [
    (
        "BertForTokenClassification",
        {},
        "[1, 6, 3], a label for each of 6 tokens: a token classifier, which clino does not",
    ),
    ("BertForTokenClassification", {"num_labels": 16}, "[1, 6, 16], a label for each of 6 tokens: a token classifier"),
    (
        "BertForMaskedLM",
        {},
        "[1, 6, 50], a score for each word of the vocabulary: a language model, which clino does not",
    ),
    ("BertForPreTraining", {}, "scores of words: a pretraining language model, which clino does not measure"),
    (
        "BertForQuestionAnswering",
        {"num_labels": 2},
        "the two ends of an answer: a question-answering model",
    ),
    ("BertModel", {}, "the hidden states: a body without a classification head, which clino does not measure"),
    ("BertModel", {"return_dict": False}, "[1, 6, 16], the hidden states: a body without a classification head"),
]


@pytest.mark.parametrize(("kind", "more", "words"), TASKS)
def test_a_model_for_another_task_is_called_by_it(kind: str, more: dict[str, Any], words: str) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(**{**sizes, "intermediate_size": 16, "num_labels": 3, **more})
    columns = {"input_ids": np.ones((4, 6), int), "attention_mask": np.ones((4, 6), int)}
    found = rows_of(groups({"en": {**columns, "labels": np.arange(4) % 3}}))
    assert found is not None
    with pytest.raises(UncheckedError) as raised:
        evaluate(getattr(transformers, kind)(config), found)
    assert words in str(raised.value)
    assert "docs/models.md" in raised.value.advice


def remarks(module: Any, examples: int = 20) -> list[str]:
    """What is said of a module once the second snapshot was looked at."""
    notices = Notices(False)
    checker = Checker(groups(probes(examples)), True, notices.remark)
    for _ in range(2):
        checker._seconds = 0.0
        checker.check(module)
    return notices.remarks


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("examples", [1, 20])
def test_a_softmax_at_the_end_is_said_once(dtype: Any, examples: int) -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1)).to(dtype)
    assert remarks(module, examples) == [PROBABILITIES]
    with torch.no_grad():  # so sure that other classes have none
        module[0].weight.mul_(1e5)
    assert remarks(module, examples) == [PROBABILITIES]


def test_a_softmax_in_few_digits_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clino._evaluation.room_on", lambda device: (64 << 20) + 256 * 16)
    assert remarks(nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1)).bfloat16()) == [PROBABILITIES]


def test_a_sigmoid_at_the_end_is_said() -> None:
    assert remarks(nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()))) == [SIGMOID]


class Gated(nn.Module):  # type: ignore[misc, name-defined]
    """Has a Sigmoid that stands last, and does not end in it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 3)
        self.gate = nn.Sigmoid()

    def forward(self, x: Any) -> Any:
        return self.body(x) * 3 * self.gate(x[:, :1]) + 1


class Positive(nn.Module):  # type: ignore[misc, name-defined]
    """Scores of at least 0 whose sum is 1 in some rows, and not in all."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        scores = self.body(x).softmax(-1)
        return torch.where(x[:, :1] > 0, scores, 1.01 * scores)


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(4, 3),
        nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(-1)),
        nn.Sequential(nn.Linear(4, 3), nn.ReLU()),
        Gated(),
        Positive(),
    ],
    ids=["linear", "log-softmax", "relu", "gated", "positive"],
)
def test_logits_of_any_sort_raise_no_alarm(module: Any) -> None:
    torch.manual_seed(0)
    assert remarks(module) == []
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    assert remarks(module) == []


def test_losses_that_are_not_finite_are_not_told_and_a_later_snapshot_is_asked_again() -> None:
    checker = Checker(groups(probes()), True, Notices(False).remark)
    module = nn.Linear(4, 3)
    with torch.no_grad():
        module.bias.fill_(float("nan"))
    assert checker.check(module) is None
    checker._seconds = 0.0
    with torch.no_grad():
        module.bias.fill_(0.0)
    found = checker.check(module)
    assert found is not None
    assert list(found.rows) == [0, 1, 2, 3, 4]
    assert found.dtype == types_pb2.DTYPE_F64


def test_evaluations_take_a_small_share_of_the_time() -> None:
    checker = Checker(groups(probes()), True, Notices(False).remark)
    assert checker.check(nn.Linear(4, 3)) is not None
    checker._seconds = 1e6
    assert checker.check(nn.Linear(4, 3)) is None


def test_a_daemon_that_does_not_answer_is_asked_three_times(daemon: FakeDaemon) -> None:
    with begin(daemon.addr, delivery="every", check=True) as run:
        for step in range(6):
            run._checker._seconds = 0.0
            run.snapshot(nn.Linear(4, 3), step)
            until(lambda step=step: run._journal._measured_step == step and run.stats.sent == step + 1)  # type: ignore[misc]
    assert [received.begin.HasField("model_check") for received in daemon.run.received] == [True] * 3 + [False] * 3


def test_only_modules_are_asked_and_only_where_that_is_wanted(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = nn.Linear(4, 3)

    def sent(model: Any, **options: Any) -> bool:
        with begin(daemon.addr, **{"check": None, **options}) as run:
            run.snapshot(model, 1)
            until(lambda: run.stats.sent == 1)
        return bool(list(daemon.runs.values())[-1].received[-1].begin.HasField("model_check"))

    assert sent(module)
    assert not sent(module, check=False)
    assert not sent(module.state_dict())
    assert not sent(weights())
    monkeypatch.setenv("CLINO_CHECK", "0")
    assert not sent(module)
    assert sent(module, check=True)


def test_the_environment_is_one_or_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_of(None)
    assert check_of(True)
    assert not check_of(False)
    for text, expected in [("0", False), ("off", False), ("False", False), ("1", True), ("", True), ("yes", True)]:
        monkeypatch.setenv("CLINO_CHECK", text)
        assert check_of(None) is expected
    monkeypatch.setenv("CLINO_CHECK", "maybe")
    with pytest.raises(ValueError, match="CLINO_CHECK: found 'maybe', expected 1 or 0"):
        check_of(None)
