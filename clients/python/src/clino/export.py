"""From a folder of Hugging Face to a file with its graph: python -m clino.export MODEL_DIR -o model.clino.

Owns: the command's arguments, and example inputs by the kind of the model. May not touch: how a model becomes a graph.

The model is made from its configuration, with parameters on the meta device: no weights are read, and a model of any
size takes little memory.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_BATCH, _LENGTH = 2, 9


def main(arguments: list[str] | None = None) -> int:
    """Write the graph of a folder's model, and say how large it is."""
    parser = argparse.ArgumentParser(
        prog="python -m clino.export", description="Export a model of Hugging Face as a graph."
    )
    parser.add_argument("folder", type=Path, help="the folder with config.json, or the path of one")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("model.clino"), help="the file to write (model.clino)"
    )
    parser.add_argument("--class", dest="name", help="the class of transformers, if config.json does not name it")
    parser.add_argument("--loss", help="the loss, if the head does not tell: cross_entropy, causal_lm, mse, bce, ...")
    parser.add_argument(
        "--length", type=int, default=_LENGTH, help="tokens of the example, for models that take one length"
    )
    parser.add_argument("--trust-remote-code", action="store_true", help="run the code that the folder brings")
    given = parser.parse_args(arguments)
    try:
        return _written(given)
    except (ImportError, OSError, ValueError) as error:
        print(f"clino: {error}", file=sys.stderr)
        return 1


def _written(given: argparse.Namespace) -> int:
    from clino import graph

    model = model_of(given.folder, given.name, given.trust_remote_code)
    exported = graph.export(model, inputs_of(model, given.length), loss=given.loss)
    exported.save(given.output)
    report = exported.report()
    for remark in exported.remarks:
        print(f"clino: {remark}", file=sys.stderr)
    print(
        f"{given.output}: {type(model).__name__}, {report['nodes']} nodes of {len(report['operators'])} operators, "
        f"{report['bytes']} bytes, loss {report['loss']}, {report['seconds']:.1f} s"
    )
    return 0


def model_of(folder: Path, name: str | None = None, trust: bool = False) -> Any:
    """The model that a configuration describes, without weights."""
    import transformers

    path = folder if folder.is_file() else folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder}: found no config.json, expected a folder as save_pretrained writes it")
    listed = json.loads(path.read_text(encoding="utf-8")).get("architectures") or []
    wanted = name or next(iter(listed), None)
    if wanted is None:
        raise ValueError(f"{path}: found no architectures, expected the class of the model there: give --class")
    configuration = transformers.AutoConfig.from_pretrained(path.parent, trust_remote_code=trust)
    kind = getattr(transformers, wanted, None)
    if kind is None:
        raise ValueError(
            f"{path}: found the class {wanted}, which transformers {transformers.__version__} does not have"
        )
    with _without_weights():
        model = kind(configuration)
    return model.float()


@contextmanager
def _without_weights() -> Iterator[None]:
    """Parameters are moved to the meta device as soon as they are made; buffers, which become constants, stay."""
    import torch

    module: Any = torch.nn.Module
    register = module.register_parameter

    def moved(self: Any, name: str, param: Any) -> None:
        register(self, name, param)
        if param is not None:
            on_meta = param.detach().to("meta")
            self._parameters[name] = torch.nn.Parameter(on_meta, requires_grad=param.requires_grad)

    module.register_parameter = moved
    try:
        yield
    finally:
        module.register_parameter = register


def inputs_of(model: Any, length: int = _LENGTH) -> dict[str, Any]:
    """Example inputs by the kind of the model: text, pixels, or features of sound."""
    import torch

    configuration = model.config
    main = model.main_input_name
    if main == "pixel_values":
        return {main: torch.zeros(_BATCH, int(getattr(configuration, "num_channels", 3)), *_sides(configuration))}
    if main == "input_features":
        frames = 2 * int(getattr(configuration, "max_source_positions", length))
        found = {main: torch.zeros(_BATCH, int(getattr(configuration, "num_mel_bins", 80)), frames)}
    elif main == "input_values":
        found = {main: torch.zeros(_BATCH, 16_000)}
    else:
        found = _tokens(model, length)
    if getattr(configuration, "is_encoder_decoder", False):
        found["decoder_input_ids"] = torch.ones(_BATCH, length - 1, dtype=torch.int64)
    if type(model).__name__.endswith("ForQuestionAnswering"):
        found["start_positions"] = found["end_positions"] = torch.ones(_BATCH, dtype=torch.int64)
    return found


def _tokens(model: Any, length: int) -> dict[str, Any]:
    """Words, and what else is said of them, as far as the forward takes it."""
    import inspect

    import torch

    taken = inspect.signature(model.forward).parameters
    choices = (3,) if type(model).__name__.endswith("ForMultipleChoice") else ()
    names = ["input_ids", "attention_mask"]
    if int(getattr(model.config, "type_vocab_size", 0) or 0) > 1:
        names.append("token_type_ids")
    ones = torch.ones(_BATCH, *choices, length, dtype=torch.int64)
    return {name: ones for name in names if name in taken}


def _sides(configuration: Any) -> tuple[int, int]:
    """Rows and columns of an image."""
    given = getattr(configuration, "image_size", 224)
    given = [given, given] if isinstance(given, int) else list(given)
    return int(given[0]), int(given[1])


if __name__ == "__main__":
    sys.exit(main())
