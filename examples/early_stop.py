"""Two runs with one policy: one that goes wrong is stopped early, one that goes well is not.

    pip install torch tokenizers ./clients/python
    python examples/early_stop.py --clino target/release/clino       # starts a daemon of its own

The small multilingual BERT of finetune.py is fine-tuned on English. With a learning rate that is too high it goes on
getting better in English while it forgets the other languages: nothing in the training loss tells. The policy looks
at the loss over all languages, and says so; what is left to the loop is to ask `run.should_stop()`, which waits for
nothing, and to restore the snapshot that the decision names.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from finetune import BATCH, DATA, GROUPS, WEIGHT_DECAY, Batch, BertClassifier, Reader, daemon, read_safetensors
from torch import Tensor
from torch.nn import functional

import clino

RATES = {"bad": 3e-3, "good": 3e-4}
POLICY = [
    # Worse over all languages while English improves, each by a test of its trend over five snapshots.
    clino.Rule("trend_reversal", "loss@pooled", against="loss@en", window=5, confidence=0.9),
    clino.Rule("patience", "loss@pooled", patience=5),
]


@dataclass
class Outcome:
    """How a run ended."""

    steps: int
    decision: clino.Decision | None
    # Of all languages together, by step.
    losses: dict[int, float]


def train(model: BertClassifier, data: Batch, run: clino.Run, rate: float, options: argparse.Namespace) -> Outcome:
    """Fine-tune until the steps or the policy's patience are over, and restore the best snapshot."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
    shuffle = torch.Generator().manual_seed(options.seed)
    per_epoch = math.ceil(len(data.labels) / BATCH)
    kept = {0: weights_of(model)}
    run.snapshot(model, 0, init=True)
    for step in range(1, options.steps + 1):
        if (step - 1) % per_epoch == 0:
            order = torch.randperm(len(data.labels), generator=shuffle)
        place = (step - 1) % per_epoch * BATCH
        batch = data[order[place : place + BATCH]]
        loss = functional.cross_entropy(model(batch.ids, batch.mask), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % options.every == 0:
            kept[step] = weights_of(model)
            run.snapshot(model, step)
        if run.should_stop():
            break
    # The loop is over: now there is time to wait for what was measured last.
    readings = run.readings(wait=60)
    decision = run.ask_decision()
    if decision and decision.best_step in kept:
        model.load_state_dict(kept[decision.best_step])
    losses = {reading.step: reading.value for reading in readings if reading.group == "pooled" and reading.value}
    return Outcome(step, decision, losses)


def weights_of(model: BertClassifier) -> dict[str, Tensor]:
    """A checkpoint, in memory since the model is small."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def tell(name: str, rate: float, outcome: Outcome, steps: int) -> None:
    """What came of a run."""
    decision = outcome.decision
    if decision is None or decision.best_step is None:
        raise SystemExit(f"{name}: the daemon did not decide")
    ended = "stopped" if outcome.steps < steps else "ended"
    print(f"{name}: learning rate {rate:g}, {ended} at step {outcome.steps} of {steps}")
    print(f"    {decision.advice}: {decision.sentence}")
    last = max(outcome.losses)
    best, end = outcome.losses[decision.best_step], outcome.losses[last]
    print(f"    restored step {decision.best_step}: loss@pooled was {best:.3f} there, {end:.3f} at step {last}")
    print(f"    {steps - outcome.steps} steps saved", flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--addr", help="address of a daemon that runs, such as unix:///run/clino/clino.sock")
    parser.add_argument("--clino", default=os.environ.get("CLINO_BIN"), help="program to start one from (or CLINO_BIN)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of emoji8 and nano")
    parser.add_argument("--steps", type=int, default=310, help="optimizer steps; 31 are an epoch")
    parser.add_argument("--every", type=int, default=31, help="steps between snapshots")
    parser.add_argument("--probe", type=int, default=64, help="examples a group")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.addr and not options.clino:
        parser.error("one of --addr and --clino is needed")
    return options


def main() -> None:
    """Train both, and say how each ended."""
    options = arguments()
    torch.set_num_threads(1)  # the daemon wants to compute, too
    nano, emoji = options.data / "nano", options.data / "emoji8"
    reader = Reader(nano)
    data = reader.read(emoji / "train.tsv")
    probes = {group: reader.read(emoji / "test.tsv", group, options.probe).probe() for group in GROUPS}
    saved = 0
    with daemon(options) as addr:
        for name, rate in RATES.items():
            model = BertClassifier(json.loads((nano / "config.json").read_text()))
            model.load_state_dict(read_safetensors(nano / "init.safetensors"))
            with clino.init(
                nano,
                probes,
                ["loss"],
                name=f"early_stop.py {name}",
                experiment="early_stop.py",
                tags={"rate": rate},
                policy=POLICY,
                addr=addr,
                delivery="every",
            ) as run:
                outcome = train(model, data, run, rate, options)
            tell(name, rate, outcome, options.steps)
            saved += options.steps - outcome.steps
    print(f"saved {saved} of {len(RATES) * options.steps} steps")


if __name__ == "__main__":
    main()
