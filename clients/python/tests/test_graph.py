"""The exporter: what it leaves alone, what it takes, what it refuses and how it says so."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from graph_compare import compared
from graph_reference import Reference

from clino import graph
from clino.graph._handshake import spec_loss
from clino.v1 import graph_pb2

nn = torch.nn


class Net(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, classes)
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        return self.second(self.drop(self.norm(self.first(x)).relu()))


def rows(batch: int = 5) -> dict[str, Any]:
    return {"x": torch.randn(batch, 4)}


def kinds(exported: graph.Exported) -> dict[str, int]:
    return {tensor.name: tensor.kind for tensor in exported.model.graph.tensors}


def test_the_live_model_is_left_as_it_was() -> None:
    model = Net().train()
    model.norm.eval()
    called: list[str] = []
    model.first.register_forward_hook(lambda *_: called.append("forward"))
    model.register_forward_pre_hook(lambda *_: called.append("before"))
    model(rows()["x"]).sum().backward()
    called.clear()
    before = copy.deepcopy(model.state_dict())
    gradients = {name: p.grad for name, p in model.named_parameters()}
    pointers = {name: (p.data_ptr(), p.requires_grad) for name, p in model.named_parameters()}
    x, y = rows(), torch.randint(0, 3, (5,))
    state = torch.get_rng_state()
    graph.export(model, x)
    graph.handshake(model, x, y)
    assert called == ["before", "forward"]  # of the handshake, which calls the live model
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is gradients[name] for name, p in model.named_parameters())
    assert pointers == {name: (p.data_ptr(), p.requires_grad) for name, p in model.named_parameters()}
    assert [part.training for part in (model, model.first, model.norm, model.drop)] == [True, True, False, True]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_module_that_cannot_be_copied() -> None:
    model = Net()
    model.lock = __import__("threading").Lock()
    assert compared(Net().eval(), graph.export(model, rows()), rows(3), torch.float64).gradient < 1e-12
    assert model.training


def test_files_and_report(tmp_path: Any) -> None:
    exported = graph.export(Net(), rows())
    exported.save(tmp_path / "model.clino")
    read = graph_pb2.Model.FromString((tmp_path / "model.clino").read_bytes())
    assert read == exported.model
    report = exported.report()
    assert report["nodes"] == len(read.graph.nodes) == sum(report["operators"].values())
    assert report["inputs"] == ["x"]
    assert report["bytes"] == len((tmp_path / "model.clino").read_bytes())
    assert report["seconds"] > 0
    again = graph.export(Net(), rows())
    assert again.model.graph.nodes == exported.model.graph.nodes


@pytest.mark.parametrize(
    "given", [{"x": torch.randn(2, 4)}, torch.randn(1, 4), (torch.randn(7, 4),)], ids=["mapping", "tensor", "tuple"]
)
def test_forms_of_inputs(given: Any) -> None:
    exported = graph.export(Net(), given)
    assert [axis.HasField("symbol") for axis in exported.model.graph.inputs[0].shape] == [True, False]
    assert compared(Net().eval(), exported, rows(6), torch.float64).gradient < 1e-12


def test_frozen_tied_and_shared() -> None:
    class Tied(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
            self.head.weight = self.words.weight
            self.layer = nn.Linear(4, 4)
            self.again = self.layer
            self.fixed = nn.Linear(4, 4).requires_grad_(False)
            self.register_buffer("scale", torch.full((4,), 0.5))
            self.register_buffer("order", torch.tensor([3, 1, 0, 2]))
            self.register_buffer("hidden", torch.ones(4), persistent=False)

        def forward(self, ids: Any) -> Any:
            h = self.fixed(self.again(self.layer(self.words(ids)).relu())) * self.scale
            return self.head(h[..., self.order] + self.hidden)

    model = Tied()
    ids = {"ids": torch.randint(0, 9, (2, 5))}
    exported = graph.export(model, ids, loss="token_cross_entropy")
    aliases = {tensor.name: tensor.alias_of for tensor in exported.model.graph.tensors if tensor.alias_of}
    assert aliases["head.weight"] == "words.weight"
    assert aliases["again.weight"] == "layer.weight"
    found = kinds(exported)
    assert found["fixed.weight"] == graph_pb2.GraphTensor.KIND_FROZEN
    assert found["layer.weight"] == graph_pb2.GraphTensor.KIND_PARAM
    assert found["scale"] == graph_pb2.GraphTensor.KIND_BUFFER
    assert not {"order", "hidden"} & found.keys()  # constants: snapshots do not bring them
    assert compared(model, exported, {"ids": torch.randint(0, 9, (3, 4))}, torch.float64).gradient < 1e-12


@pytest.mark.filterwarnings("ignore")
def test_parametrizations_and_weight_norm_are_kept() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Linear(5, 3))
    torch.nn.utils.weight_norm(model[0])
    torch.nn.utils.parametrizations.weight_norm(model[2])
    model(torch.randn(2, 4))
    exported = graph.export(model, torch.randn(2, 4))
    names = set(kinds(exported))
    assert {"0.weight_g", "0.weight_v", "2.parametrizations.weight.original0"} <= names
    assert compared_by_position(model, exported) < 1e-12


def compared_by_position(model: Any, exported: graph.Exported) -> float:
    """The worst gradient of a module whose argument has no name of its own."""
    name = exported.model.graph.inputs[0].name
    x = torch.randn(3, 4, dtype=torch.float64)
    model = model.double()
    leaves = {key: p.detach().clone().requires_grad_(True) for key, p in model.named_parameters()}
    y = Reference(exported.model.graph, torch.float64).run(leaves, {name: x})["logits"]
    mine = torch.autograd.grad(y.square().sum(), list(leaves.values()))
    its = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    return max(float((a - b).norm() / b.norm()) for a, b in zip(mine, its, strict=True))


def test_wrappers_are_left_off() -> None:
    model = Net()
    for wrapped in (nn.DataParallel(model), torch.compile(model)):
        assert set(kinds(graph.export(wrapped, rows()))) >= {name for name, _ in model.named_parameters()}


def test_meta_device() -> None:
    with torch.device("meta"):
        model = Net()
    exported = graph.export(model, rows())
    assert compared(Net().eval(), exported, rows(3), torch.float64).gradient < 1e-12


def test_detached_parts_have_no_gradient() -> None:
    class Target(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            with torch.no_grad():
                target = self.a(x)
            return self.a(x).detach() * target + self.b(x)

    model = Target()
    assert compared(model, graph.export(model, rows()), rows(3), torch.float64).gradient < 1e-12


@pytest.mark.parametrize("labels", ["long", "lengths"])
def test_lengths_of_its_own(labels: str) -> None:
    class Loop(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.cell = nn.Embedding(9, 4), nn.GRUCell(4, 4)

        def forward(self, ids: Any) -> Any:
            h, x = torch.zeros(ids.shape[0], 4), self.embed(ids)
            for step in range(ids.shape[1]):
                h = self.cell(x[:, step], h)
            return h

    exported = graph.export(Loop(), {"ids": torch.randint(0, 9, (2, 6))})
    symbol = exported.model.graph.symbols[exported.model.graph.inputs[0].shape[1].symbol]
    assert (symbol.least, symbol.most) == (6, 6)


LOSSES: list[tuple[Any, int, str]] = [
    (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.1), 3, "long"),
    (nn.CrossEntropyLoss(ignore_index=1), 3, "long"),
    ("cross_entropy", 3, "long"),
    (nn.MSELoss(), 2, "float"),
    (nn.HuberLoss(delta=0.3), 2, "float"),
    (nn.SmoothL1Loss(beta=0.4), 2, "float"),
    (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0, 0.5])), 2, "unit"),
    (nn.L1Loss(), 2, "float"),
    (lambda outputs, y: nn.functional.mse_loss(outputs, y, reduction="none").mean(1), 2, "float"),
    (lambda outputs, y: nn.functional.cross_entropy(outputs, y), 3, "long"),
]


@pytest.mark.parametrize(("loss", "classes", "kind"), LOSSES, ids=lambda given: str(given)[:24].replace(" ", ""))
def test_losses(loss: Any, classes: int, kind: str) -> None:
    model = Net(classes).eval()
    made = {
        "long": lambda: torch.randint(0, 3, (6,)),
        "float": lambda: torch.randn(6, 2),
        "unit": lambda: torch.rand(6, 2),
    }
    x, y = torch.randn(6, 4), made[kind]()
    exported = graph.export(model, {"x": x, "labels": y}, loss=loss)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    outputs = Reference(exported.model.graph, torch.float32).run(tensors, {"x": x, "labels": y})
    found = spec_loss(exported.model.loss, outputs, {"labels": y})
    wanted = loss(model(x), y) if callable(loss) else nn.functional.cross_entropy(model(x), y)
    assert float(found) == pytest.approx(float(wanted.mean()), rel=1e-5)
    shaken = graph.handshake(model, {"x": x}, y, loss=loss)
    assert shaken.loss == pytest.approx(float(wanted.mean()), rel=1e-5)
    gradients = torch.autograd.grad(wanted.mean(), list(model.parameters()))
    norms = [float(g.norm()) for g in gradients]
    assert list(shaken.by_tensor.values()) == pytest.approx(norms, rel=1e-4, abs=1e-7)


def test_a_scalar_loss_couples_the_batch() -> None:
    exported = graph.export(Net(), {**rows(), "labels": torch.randint(0, 3, (5,))}, loss=lambda o, y: o.square().mean())
    assert exported.model.loss.batch_coupled
    assert exported.model.loss.WhichOneof("kind") == "given"


class Refused(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(4, 4), function

    def forward(self, x: Any) -> Any:
        return self.function(self.layer(x))


REFUSED = [
    (lambda h: h + torch.rand_like(h), "random"),
    (lambda h: nn.functional.dropout(h, 0.5), "dropout"),
    (lambda h: h[h > 0].sum().reshape(1), "elements"),
    (lambda h: torch.fft.irfft(torch.fft.rfft(h), n=4), "complex"),
    (lambda h: h * 2 if h.sum() > 0 else h, "elements"),
    (lambda h: torch.linalg.qr(h)[0], "clino has no operator|does not know"),
]


@pytest.mark.parametrize(("function", "why"), REFUSED)
def test_what_has_no_graph_is_refused_by_name_and_line(function: Any, why: str) -> None:
    with pytest.raises(graph.ExportError, match=why) as caught:
        graph.export(Refused(function), rows())
    assert "test_graph.py" in str(caught.value)


def test_quantised_layers_are_refused_by_name() -> None:
    class Linear4bit(nn.Linear):  # type: ignore[misc, name-defined]
        pass

    model = nn.Sequential(nn.Linear(4, 4), Linear4bit(4, 2))
    with pytest.raises(graph.ExportError, match=r"1: found the quantised layer .*Linear4bit"):
        graph.export(model, torch.randn(2, 4))


@pytest.mark.parametrize(
    ("inputs", "loss", "why"),
    [
        ({"x": "text"}, None, "inputs: found no tensor"),
        ({"x": torch.randn(2, 4), "y": [1]}, None, r"inputs\.y: found list"),
        (rows(), "hinge", "loss: found 'hinge'"),
        (rows(), 3, "loss: found int"),
        (rows(), lambda o, y: o, "found no labels"),
        (rows(), nn.MSELoss(reduction="sum"), "expected the mean"),
    ],
)
def test_mistakes(inputs: Any, loss: Any, why: str) -> None:
    with pytest.raises(graph.ExportError, match=why):
        graph.export(Net(), inputs, loss=loss)


class Rounded(torch.autograd.Function):  # type: ignore[misc, name-defined]
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.round()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g


def test_a_backward_of_its_own_is_told() -> None:
    before = torch.autograd.Function.__dict__["apply"]
    exported = graph.export(Refused(lambda h: Rounded.apply(h)), rows())
    assert any("Rounded has a backward of its own" in remark for remark in exported.remarks)
    assert torch.autograd.Function.__dict__["apply"] is before


def test_a_head_of_hugging_face() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    words = {"input_ids": torch.randint(3, 40, (4, 6)), "attention_mask": torch.ones(4, 6, dtype=torch.long)}
    ids = torch.randint(0, 2, (4,))
    tokens = torch.where(torch.rand(4, 6) > 0.4, torch.randint(0, 2, (4, 6)), -100)
    answers = {"start_positions": torch.tensor([0, 3, 5, 1]), "end_positions": torch.tensor([1, 4, 5, 3])}
    several = {name: tensor[:, None].expand(4, 3, 6).contiguous() for name, tensor in words.items()}
    cases: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
        ("BertForSequenceClassification", {}, words, {"labels": ids}),
        ("BertForSequenceClassification", {"num_labels": 1}, words, {"labels": torch.randn(4)}),
        (
            "BertForSequenceClassification",
            {"num_labels": 3, "problem_type": "multi_label_classification"},
            words,
            {"labels": torch.rand(4, 3).round()},
        ),
        ("BertForTokenClassification", {}, words, {"labels": tokens}),
        ("BertForMaskedLM", {}, words, {"labels": words["input_ids"]}),
        ("BertForQuestionAnswering", {}, words, answers),
        ("BertForMultipleChoice", {}, several, {"labels": torch.randint(0, 3, (4,))}),
        ("LlamaForCausalLM", {"num_key_value_heads": 1}, words, {"labels": words["input_ids"]}),
    ]
    for name, more, inputs, labels in cases:
        kind = getattr(transformers, name)
        model = kind(kind.config_class(**{**sizes, **more})).eval()
        exported = graph.export(model, {**inputs, **labels})
        tensors = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
        outputs = Reference(exported.model.graph, torch.float32).run(tensors, {**inputs, **labels})
        found = spec_loss(exported.model.loss, outputs, labels)
        assert float(found) == pytest.approx(float(model(**inputs, **labels).loss), rel=1e-5), name
        shaken = graph.handshake(model, {**inputs, **labels})
        assert shaken.loss == pytest.approx(float(found), rel=1e-5), name


def test_adapters() -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    sizes = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    base = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, num_key_value_heads=1))
    settings = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    model = peft.get_peft_model(base, settings).eval()
    words = {"input_ids": torch.randint(3, 40, (2, 6))}
    adapter = graph.export(model, words)
    trained = {name for name, kind in kinds(adapter).items() if kind == graph_pb2.GraphTensor.KIND_PARAM}
    assert trained == {name for name, p in model.named_parameters() if p.requires_grad}
    assert adapter.model.loss.cross_entropy.shift == 1

    merged = graph.export(model, words, space="merged")
    whole = copy.deepcopy(model).merge_and_unload().eval()
    assert set(kinds(merged)) == {name for name, _ in whole.named_parameters(remove_duplicate=False)}
    tensors = dict(whole.named_parameters(remove_duplicate=False))
    found = Reference(merged.model.graph, torch.float32).run(tensors, words)["logits"]
    torch.testing.assert_close(found, model(**words).logits, rtol=1e-4, atol=1e-5)
    assert any("lora" in name for name, _ in model.named_parameters())
