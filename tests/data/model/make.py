#!/usr/bin/env python3
"""Makes the golden numbers of this folder: what PyTorch gives for the layers and models of `src/model/spec.rs`.

    python3 make.py

Writes golden.safetensors and golden.json beside itself. Needs torch, numpy and safetensors (made with torch 2.9.1 on
the CPU, numpy 2.4.6, safetensors 0.8.0; the same versions give the same bytes).

golden.json names the cases: "lstm" (name -> LstmSpec, made by nn.LSTM alone) and "models" (name -> ModelSpec, made by
`Model` below). Tensors are called "<case>/<name>":

    <parameter>       weights, as `state_dict` gives them; the parameters of an LSTM case stand under "lstm."
    in.sequence       (T, B, I) what an LSTM case reads; absent where it takes no input
    in.h0, in.c0      (L * D, B, H) the state that it starts from; absent: zeros
    in.windows        (B, T, F) what a model reads, oldest row first
    in.next           (B, horizon, F) the rows after the windows, next one first
    out.output        (T, B, D * H) the top layer
    out.h, out.c      (L * D, B, H) the final state (of a model: its encoder's)
    out.rebuilt       (K, B, F) newest row first, free running
    out.forecast      (horizon, B, F) next row first, free running
    out.judge         (B,) log-odds of the newest row
    out.judge_rows    (T, B) log-odds of every row (one direction alone)
    out.loss          (1,) squared error of the taught rebuilt rows + that of the taught forecast, a mean each
    grad.<parameter>  the loss's gradient; absent where the loss does not depend on the parameter

Weights and inputs are drawn in float32; everything after is computed in float64 and rounded once, so what a test in
float32 sees beside it is its own error.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

FOLDER = Path(__file__).resolve().parent
SEED = 20150222
BATCH = 3


def lstm_spec(**changed) -> dict:
    spec = {"input_size": 4, "hidden_size": 5, "layers": 1, "bias": True, "dropout": 0.0, "bidirectional": False}
    return {**spec, **changed}


def model_spec(**changed) -> dict:
    spec = {
        "input_size": 4,
        "hidden_size": 5,
        "layers": 1,
        "lookback": 6,
        "context": "window",
        "bias": True,
        "dropout": 0.0,
        "bidirectional": False,
        "bottleneck": 0,
        "decoded_rows": 4,
        "horizon": 0,
        "conditioned": False,
        "judge": None,
    }
    return {**spec, **changed}


JUDGE = {"hidden": [6, 7], "row_net": False}
# name -> (spec, steps, batch, whether it starts from a given state); hidden sizes fill no vector register evenly.
LSTMS = {
    "one_layer": (lstm_spec(hidden_size=19), 7, 18, False),
    "two_layers": (lstm_spec(layers=2), 7, BATCH, False),
    "without_bias": (lstm_spec(layers=2, bias=False), 7, BATCH, False),
    "both_directions": (lstm_spec(layers=2, bidirectional=True), 7, BATCH, False),
    "from_a_state": (lstm_spec(layers=2, bidirectional=True, hidden_size=3), 7, BATCH, True),
    "without_input": (lstm_spec(input_size=0, layers=2), 5, BATCH, True),
}
# name -> (spec, batch)
MODELS = {
    "plain": (model_spec(hidden_size=19), 18),
    "eight_units": (model_spec(hidden_size=8, input_size=1, decoded_rows=6), 1),
    "without_bias": (model_spec(bias=False, layers=2, horizon=2), BATCH),
    "stacked_conditioned": (model_spec(layers=2, conditioned=True), BATCH),
    "both_directions": (model_spec(layers=2, bidirectional=True), BATCH),
    "bottleneck": (model_spec(layers=2, bottleneck=3), BATCH),
    "composite": (model_spec(horizon=3), BATCH),
    "predictor_alone": (model_spec(decoded_rows=0, horizon=3, conditioned=True), BATCH),
    "judge": (model_spec(decoded_rows=0, context="carried", layers=2, judge={**JUDGE, "row_net": True}), BATCH),
    "judge_both_directions": (model_spec(decoded_rows=0, bidirectional=True, judge=JUDGE), BATCH),
    "everything": (
        model_spec(
            hidden_size=7,
            layers=2,
            bidirectional=True,
            bottleneck=5,
            horizon=3,
            conditioned=True,
            judge={**JUDGE, "row_net": True},
        ),
        17,
    ),
}
# Models whose gradients are written too.
WITH_GRADIENTS = ("plain", "without_bias", "stacked_conditioned", "bottleneck", "composite", "everything")


def make_lstm(spec: dict) -> nn.LSTM:
    return nn.LSTM(
        spec["input_size"],
        spec["hidden_size"],
        num_layers=spec["layers"],
        bias=spec["bias"],
        bidirectional=spec["bidirectional"],
    )


def make_net(inputs: int, hidden: list[int]) -> nn.Sequential:
    first, second = hidden
    return nn.Sequential(nn.Linear(inputs, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 1))


class Model(nn.Module):
    """The model of a ModelSpec in plain PyTorch."""

    def __init__(self, spec: dict):
        super().__init__()
        self.spec = spec
        rows, hidden, layers = spec["input_size"], spec["hidden_size"], spec["layers"]
        directions = 2 if spec["bidirectional"] else 1
        decodes = spec["decoded_rows"] > 0 or spec["horizon"] > 0
        inner = {**spec, "input_size": rows if spec["conditioned"] else 0, "bidirectional": False}
        self.encoder = make_lstm(spec)
        self.has_bridge = spec["bottleneck"] > 0 or (spec["bidirectional"] and decodes)
        if self.has_bridge:
            width = 2 * layers * directions * hidden
            if spec["bottleneck"] > 0:
                self.compress = nn.Linear(width, spec["bottleneck"])
                width = spec["bottleneck"]
            self.expand = nn.Linear(width, 2 * layers * hidden)
        if spec["decoded_rows"] > 0:
            self.decoder, self.output = make_lstm(inner), nn.Linear(hidden, rows)
        if spec["horizon"] > 0:
            self.predictor, self.predictor_output = make_lstm(inner), nn.Linear(hidden, rows)
        if spec["judge"] is not None:
            self.judge = make_net(directions * hidden + rows, spec["judge"]["hidden"])
            if spec["judge"]["row_net"]:
                self.row_judge = make_net(rows, spec["judge"]["hidden"])

    def bridge(self, state):
        if not self.has_bridge:
            return state
        flat = torch.cat([part.transpose(0, 1).flatten(1) for part in state], dim=1)
        if self.spec["bottleneck"] > 0:
            flat = self.compress(flat)
        halves = self.expand(flat).chunk(2, dim=1)
        shape = (flat.shape[0], self.spec["layers"], self.spec["hidden_size"])
        return tuple(half.reshape(shape).transpose(0, 1).contiguous() for half in halves)

    def unroll(self, stack, output, state, count, truth=None):
        """Gives (count, B, F); `truth`, (count, B, F): rows fed in place of the stack's own."""
        rows = []
        row = state[0].new_zeros(1, state[0].shape[1], self.spec["input_size"])
        for step in range(count):
            read = row if self.spec["conditioned"] else row[:, :, :0]
            hidden, state = stack(read, state)
            rows.append(output(hidden))
            row = rows[-1] if truth is None else truth[step : step + 1]
        return torch.cat(rows)

    def judged(self, hidden, rows):
        log_odds = self.judge(torch.cat([hidden, rows], dim=-1)).squeeze(-1)
        if self.spec["judge"]["row_net"]:
            log_odds = (log_odds + self.row_judge(rows).squeeze(-1)) / 2
        return log_odds

    def forward(self, windows: torch.Tensor) -> dict:
        sequence = windows.transpose(0, 1)
        output, state = self.encoder(sequence)
        out = {"output": output, "h": state[0], "c": state[1]}
        start = self.bridge(state)
        if self.spec["decoded_rows"] > 0:
            out["rebuilt"] = self.unroll(self.decoder, self.output, start, self.spec["decoded_rows"])
        if self.spec["horizon"] > 0:
            out["forecast"] = self.unroll(self.predictor, self.predictor_output, start, self.spec["horizon"])
        if self.spec["judge"] is not None:
            directions = 2 if self.spec["bidirectional"] else 1
            top = state[0][-directions:].transpose(0, 1).flatten(1)
            out["judge"] = self.judged(top, sequence[-1])
            if directions == 1:
                out["judge_rows"] = self.judged(output, sequence)
        return out

    def loss(self, windows: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        _, state = self.encoder(windows.transpose(0, 1))
        start = self.bridge(state)
        loss = windows.new_zeros(())
        if self.spec["decoded_rows"] > 0:
            truth = windows.transpose(0, 1).flip(0)[: self.spec["decoded_rows"]]
            rebuilt = self.unroll(self.decoder, self.output, start, len(truth), truth)
            loss = loss + (rebuilt - truth).square().mean()
        if self.spec["horizon"] > 0:
            truth = following.transpose(0, 1)
            foretold = self.unroll(self.predictor, self.predictor_output, start, len(truth), truth)
            loss = loss + (foretold - truth).square().mean()
        return loss


def run_lstm(spec: dict, steps: int, batch: int, with_state: bool) -> dict:
    lstm = make_lstm(spec)
    sequence = torch.randn(steps, batch, spec["input_size"])
    tensors = {f"lstm.{name}": weight for name, weight in lstm.state_dict().items()}
    tensors["in.sequence"] = sequence
    state = None
    if with_state:
        directions = 2 if spec["bidirectional"] else 1
        shape = (spec["layers"] * directions, batch, spec["hidden_size"])
        tensors["in.h0"], tensors["in.c0"] = torch.tanh(torch.randn(shape)), torch.randn(shape)
        state = (tensors["in.h0"].double(), tensors["in.c0"].double())
    # state_dict shares the module's memory, which double() replaces.
    output, (h, c) = lstm.double()(sequence.double(), state)
    return {**tensors, "out.output": output, "out.h": h, "out.c": c}


def run_model(spec: dict, batch: int, with_gradients: bool) -> dict:
    model = Model(spec)
    windows = torch.randn(batch, spec["lookback"], spec["input_size"])
    tensors = {**model.state_dict(), "in.windows": windows}
    if spec["horizon"] > 0:
        tensors["in.next"] = torch.randn(batch, spec["horizon"], spec["input_size"])
    model.double()
    tensors |= {f"out.{name}": tensor for name, tensor in model(windows.double()).items()}
    if with_gradients:
        loss = model.loss(windows.double(), tensors["in.next"].double() if spec["horizon"] > 0 else None)
        loss.backward()
        tensors["out.loss"] = loss.reshape(1)
        for name, weight in model.named_parameters():
            if weight.grad is not None:
                tensors[f"grad.{name}"] = weight.grad
    return tensors


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    cases = {f"lstm_{name}": run_lstm(*case) for name, case in LSTMS.items()}
    for name, (spec, batch) in MODELS.items():
        cases[name] = run_model(spec, batch, name in WITH_GRADIENTS)
    tensors = {
        f"{case}/{name}": tensor.detach().float().contiguous().clone()
        for case, tensors in cases.items()
        for name, tensor in tensors.items()
        # A stack without input has weights of size zero in PyTorch and none in a ModelSpec.
        if tensor.numel() > 0
    }
    save_file(tensors, FOLDER / "golden.safetensors")
    specs = {
        "lstm": {f"lstm_{name}": case[0] for name, case in LSTMS.items()},
        "models": {name: case[0] for name, case in MODELS.items()},
    }
    (FOLDER / "golden.json").write_text(json.dumps(specs, indent=1) + "\n")


if __name__ == "__main__":
    main()
