#!/usr/bin/env python3
"""Compares tapewatch's speed with PyTorch's and ONNX Runtime's: same weights, same inputs, one thread, one core.

    pip install -r tests/bench/requirements.txt
    python tests/bench/peers.py [--quick] > peers.jsonl

Builds the benches `kernel` and `train` with cargo, or takes built ones: `--bench-binary FILE`, `--train-binary FILE`.
The first dumps weights, inputs and scores; both peers must give these scores, to within 1e-4, at every batch that is
timed. Then all three are timed by turns, round by round, and the best round of each counts: `--rounds N`, each of them
about `--millis N` long. `--quick` takes few short rounds, to see that everything runs. Where the system can pin a
process, all run on the last core that this one may use (`taskset` chooses another). Nothing else should run meanwhile.

Cases:
- `ref`, `large`: windows scored by the error of their whole reconstruction, at batch 1 and at 16 to 1024. At the latter
  tapewatch's speed stands against the best that a peer reaches at any of them.
- `judge+ff`: carried states of 16 and of 1024 instruments, stepped tick by tick, and one instrument with 64 queued
  ticks, which peers take as one sequence. `judge`, without the net on the row alone, is checked but not timed.
- `ref train`, `large train`: an epoch of 20,000 windows at batch 256, from the mean of a few batches (`--batches N`):
  forward, mean squared error of the whole reconstruction, gradient, AdamW. ONNX Runtime does not train.

Peers get inputs in the layout that they like, outside the time, and more than one form where none is best everywhere
(PyTorch: with oneDNN or without, `LSTM` or `LSTMCell`; ONNX Runtime: arrays or bound memory): the fastest counts.

Prints one JSON object per case: speeds by implementation, and `ratio`, how many times as fast as the better peer
tapewatch is. What people read goes to stderr.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("pytorch", "onnxruntime")
BATCHES = (1, 16, 64, 256, 1024)
# model -> T, rows per window, all of which are rebuilt
WINDOWS = {"ref": 64, "large": 128}
# (instruments, queued ticks) of the carried cases
CARRIED = ((16, 1), (1024, 1), (1, 64))
TRAINING_BATCH = 256
TRAINING_WINDOWS = 20_000
# Float sums in another order differ by about 1e-6; a wrong gate or row by far more than this.
DISAGREEMENT_MAX = 1e-4
# Forms that a first trial finds slower than the fastest by this factor are not timed again.
TRIAL_FACTOR = 1.3
# What ONNX Runtime and onnx of the pinned versions both know.
OPSET, IR_VERSION = 18, 9


# tapewatch


class Bench:
    """A bench of this repository."""

    def __init__(self, name: str, binary: str | None):
        self.binary = str(Path(binary).resolve()) if binary else built(name)

    def run(self, *arguments: str) -> list[dict]:
        """Runs the bench and gives its lines."""
        # One thread, even where there are no pinned processes.
        environment = os.environ | {"RAYON_NUM_THREADS": "1"}
        done = subprocess.run([self.binary, *arguments], check=True, stdout=subprocess.PIPE, text=True, env=environment)
        return [json.loads(line) for line in done.stdout.splitlines()]


def built(name: str) -> str:
    """Builds a bench as `cargo bench` does and gives its executable."""
    command = ["cargo", "bench", "--bench", name, "--no-run", "--message-format=json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    for line in done.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("target", {}).get("name") == name and message.get("executable"):
            return message["executable"]
    raise FileNotFoundError(f"cargo named no executable of bench {name}")


def words(**fields: str | int) -> str:
    """Gives the value of `--only` for the cases with these fields."""
    return ",".join(f'"{name}":{json.dumps(value)}' for name, value in fields.items())


def best_path(kernel: Bench) -> str:
    """Gives the fastest path of this processor, which the bench runs first."""
    only = words(model="ref", decoder="unconditioned", k=WINDOWS["ref"], windows="series")
    return kernel.run("--rounds", "1", "--millis", "1", "--only", only)[0]["path"]


@dataclass
class Dump:
    """What the bench wrote of a model."""

    # By PyTorch's names.
    weights: dict[str, np.ndarray]
    # (N, T, F)
    inputs: np.ndarray
    # (N,) of windows, (N, T) of ticks
    scores: np.ndarray

    def __init__(self, file: Path):
        self.weights = load_file(file)
        self.inputs = self.weights.pop("inputs")
        self.scores = self.weights.pop("scores")
        if len(self.scores) > len(self.inputs):
            self.scores = self.scores.reshape(self.inputs.shape[:2])

    @property
    def hidden(self) -> int:
        return self.weights["encoder.weight_hh_l0"].shape[1]

    @property
    def layers(self) -> int:
        return sum(name.startswith("encoder.weight_hh_l") for name in self.weights)

    def time_major(self, n: int) -> np.ndarray:
        """Gives the first n inputs as (T, n, F)."""
        return np.ascontiguousarray(self.inputs[:n].transpose(1, 0, 2))


# What is timed


@dataclass
class Form:
    """One way in which a peer runs a case."""

    name: str
    # Gives scores, or a list of them, one per tick.
    run: Callable[[], object]
    # What holds while it runs.
    settings: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    # Seconds of one run, the best so far.
    seconds: float = float("inf")

    def measure(self, millis: float) -> None:
        """Runs for so long, at least once, and keeps the mean if it is the best."""
        with self.settings():
            calls, started, passed = 0, time.perf_counter(), 0.0
            while calls == 0 or passed < millis / 1000:
                self.run()
                calls += 1
                passed = time.perf_counter() - started
        self.seconds = min(self.seconds, passed / calls)

    def disagreement(self, scores: np.ndarray) -> float:
        """Gives the worst absolute difference to the scores, and warms up."""
        with self.settings():
            found = self.run()
        if isinstance(found, list):
            found = np.stack([np.asarray(tick).reshape(-1) for tick in found], axis=1)
        return float(np.abs(np.asarray(found).reshape(scores.shape) - scores).max())


@contextlib.contextmanager
def torch_settings(onednn: bool, training: bool):
    with torch.backends.mkldnn.flags(enabled=onednn), torch.inference_mode(not training):
        yield


def torch_form(name: str, run: Callable[[], object], onednn: bool, training: bool = False) -> Form:
    return Form(name, run, lambda: torch_settings(onednn, training))


def try_out(forms: list[Form]) -> list[Form]:
    """Measures forms for a moment and keeps those that may be the fastest."""
    for form in forms:
        form.measure(millis=20)
    limit = TRIAL_FACTOR * min(form.seconds for form in forms)
    return [form for form in forms if form.seconds <= limit]


def fastest(forms: Iterable[Form]) -> Form:
    return min(forms, key=lambda form: form.seconds)


# PyTorch


class Autoencoder(nn.Module):
    """Encoder, and a decoder that steps on its state alone: `nn.LSTM` takes it as zeros, or as rows of no numbers."""

    def __init__(self, dump: Dump, decoder_inputs: int):
        super().__init__()
        hidden, layers, features = dump.hidden, dump.layers, dump.inputs.shape[2]
        self.decoder_inputs = decoder_inputs
        self.encoder = nn.LSTM(features, hidden, layers)
        self.decoder = nn.LSTM(decoder_inputs, hidden, layers)
        self.output = nn.Linear(hidden, features)
        unused = {"decoder.weight_ih_l0": np.zeros((4 * hidden, decoder_inputs), np.float32)}
        load(self, dump.weights | unused)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """`windows`: `(T, B, F)` -> `(T, B, F)`, newest row first."""
        _, state = self.encoder(windows)
        hidden, _ = self.decoder(windows.new_zeros(*windows.shape[:2], self.decoder_inputs), state)
        return self.output(hidden)


class Judge(nn.Module):
    """Encoder, judge and, where it is there, the judge's net on the row alone."""

    def __init__(self, dump: Dump, is_cell: bool):
        super().__init__()
        hidden, features = dump.hidden, dump.inputs.shape[2]
        weights = dump.weights
        self.encoder = nn.LSTMCell(features, hidden) if is_cell else nn.LSTM(features, hidden)
        if is_cell:
            weights = {name.removesuffix("_l0"): numbers for name, numbers in weights.items()}
        self.judge = feed_forward(weights, "judge")
        self.row_judge = feed_forward(weights, "row_judge") if "row_judge.0.weight" in weights else None
        load(self, weights)

    def forward(self, rows: torch.Tensor, state: tuple | None) -> tuple[torch.Tensor, tuple]:
        """`rows`: `(T, B, F)`, or `(B, F)` for a cell -> log-odds `(…, 1)`, state."""
        if isinstance(self.encoder, nn.LSTMCell):
            state = self.encoder(rows, state)
            hidden = state[0]
        else:
            hidden, state = self.encoder(rows, state)
        log_odds = self.judge(torch.cat((hidden, rows), -1))
        if self.row_judge is not None:
            log_odds = (log_odds + self.row_judge(rows)) * 0.5
        return log_odds, state


def feed_forward(weights: dict[str, np.ndarray], prefix: str) -> nn.Sequential:
    first, second, last = (
        nn.Linear(*reversed(weights[f"{prefix}.{index}.weight"].shape)) for index in (0, 2, 4)
    )
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)


def load(module: nn.Module, weights: dict[str, np.ndarray]) -> None:
    module.load_state_dict({name: torch.from_numpy(numbers) for name, numbers in weights.items()})
    module.eval()


def torch_autoencoders(dump: Dump) -> list[tuple[str, Autoencoder, bool]]:
    """Gives name, module and whether oneDNN runs it; oneDNN knows no rows of no numbers."""
    return [("oneDNN", Autoencoder(dump, 1), True), ("native", Autoencoder(dump, 0), False)]


def torch_windows(dump: Dump, batch: int) -> list[Form]:
    windows = torch.from_numpy(dump.time_major(batch))

    def run(module: Autoencoder) -> torch.Tensor:
        return (module(windows) - windows.flip(0)).square().mean((0, 2))

    return [
        torch_form(name, lambda module=module: run(module), onednn)
        for name, module, onednn in torch_autoencoders(dump)
    ]


def torch_carried(dump: Dump, instruments: int, queued: int) -> list[Form]:
    rows = torch.from_numpy(dump.time_major(instruments))
    stack, cell = Judge(dump, is_cell=False), Judge(dump, is_cell=True)

    def step(module: Judge, ticks: list[torch.Tensor]) -> list[torch.Tensor]:
        state, found = None, []
        for tick in ticks:
            log_odds, state = module(tick, state)
            found.append(log_odds)
        return found

    if queued > 1:
        run = lambda: stack(rows, None)[0]
        return [torch_form("oneDNN", run, True), torch_form("native", run, False)]
    sequences, ticks = list(rows.split(1)), list(rows)
    return [
        torch_form("LSTM, oneDNN", lambda: step(stack, sequences), True),
        torch_form("LSTM, native", lambda: step(stack, sequences), False),
        torch_form("LSTMCell", lambda: step(cell, ticks), True),
    ]


def torch_training(dump: Dump, batches: int) -> list[Form]:
    """Gives forms whose one run takes so many batches."""
    windows = torch.from_numpy(dump.time_major(TRAINING_BATCH))

    def form(name: str, module: Autoencoder, onednn: bool) -> Form:
        module.train()
        optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)

        def run() -> None:
            for _ in range(batches):
                optimiser.zero_grad()
                nn.functional.mse_loss(module(windows), windows.flip(0)).backward()
                optimiser.step()

        return torch_form(name, run, onednn, training=True)

    return [form(*parts) for parts in torch_autoencoders(dump)]


# ONNX Runtime


class Graph:
    """A graph under construction: every method adds a node and gives the name of its output."""

    def __init__(self, dump: Dump):
        self.weights, self.hidden, self.layers = dump.weights, dump.hidden, dump.layers
        self.nodes, self.constants, self.names = [], [], 0

    def name(self) -> str:
        self.names += 1
        return f"t{self.names}"

    def constant(self, numbers: np.ndarray | list) -> str:
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(numbers), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes) -> str:
        out = self.name()
        self.nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def gates(self, name: str) -> np.ndarray:
        """Gives a weight by ONNX's order of gates: input, forget, cell, output -> input, output, forget, cell."""
        entry, forget, cell, output = np.split(self.weights[name], 4)
        return np.concatenate([entry, output, forget, cell])

    def lstm(self, stack: str, layer: int, rows: str, state: tuple[str, str] | None) -> tuple[str, tuple[str, str]]:
        """`rows`: `(T, B, inputs)` -> hidden rows `(T, B, H)`, state of two `(1, B, H)`."""
        inputs = f"{stack}.weight_ih_l{layer}"
        # ONNX has no LSTM without input: it gets zeros, one per row.
        input_weight = self.gates(inputs) if inputs in self.weights else np.zeros((4 * self.hidden, 1), np.float32)
        bias = np.concatenate([self.gates(f"{stack}.bias_{kind}_l{layer}") for kind in ("ih", "hh")])
        constants = (input_weight, self.gates(f"{stack}.weight_hh_l{layer}"), bias)
        inputs = [rows, *(self.constant(numbers[None]) for numbers in constants), "", *(state or ())]
        hidden, *after = [self.name() for _ in range(3)]
        self.nodes.append(helper.make_node("LSTM", inputs, [hidden, *after], hidden_size=self.hidden))
        return self.node("Squeeze", hidden, self.constant([1])), tuple(after)

    def linear(self, prefix: str, rows: str) -> str:
        weight = self.constant(self.weights[f"{prefix}.weight"].T)
        return self.node("Add", self.node("MatMul", rows, weight), self.constant(self.weights[f"{prefix}.bias"]))

    def feed_forward(self, prefix: str, rows: str) -> str:
        for index in (0, 2):
            rows = self.node("Relu", self.linear(f"{prefix}.{index}", rows))
        return self.linear(f"{prefix}.4", rows)

    def session(self, inputs: dict[str, tuple], outputs: dict[str, tuple]) -> onnxruntime.InferenceSession:
        """Ends the graph: names and shapes of what goes in and comes out."""
        infos = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
            for shapes in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "peer", *infos, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_windows(dump: Dump, batch: int) -> list[Form]:
    """The whole way from windows to scores in one graph, with shapes that are fixed."""
    windows = dump.time_major(batch)
    lookback, _, features = windows.shape
    graph = Graph(dump)
    rows, states = "windows", []
    for layer in range(dump.layers):
        rows, state = graph.lstm("encoder", layer, rows, None)
        states.append(state)
    rows = graph.constant(np.zeros((lookback, batch, 1), np.float32))
    for layer, state in enumerate(states):
        rows, _ = graph.lstm("decoder", layer, rows, state)
    newest_first = graph.node("Slice", "windows", *(graph.constant([bound]) for bound in (-1, -lookback - 1, 0, -1)))
    errors = graph.node("Sub", graph.linear("output", rows), newest_first)
    sums = graph.node("ReduceSumSquare", errors, graph.constant([0, 2]), keepdims=0)
    share = graph.constant(np.float32(1 / (lookback * features)))
    scores = graph.node("Mul", sums, share)
    session = graph.session({"windows": windows.shape}, {scores: (batch,)})
    return [Form("arrays", lambda: session.run(None, {"windows": windows})[0])]


def onnx_carried(dump: Dump, instruments: int, queued: int) -> list[Form]:
    """States go in and come out at every run, which takes one tick per instrument or the whole queue."""
    rows = dump.time_major(instruments)
    steps = rows[None] if queued > 1 else rows[:, None]
    shape, state_shape = steps.shape[1:], (1, instruments, dump.hidden)
    graph = Graph(dump)
    hidden, (h_after, c_after) = graph.lstm("encoder", 0, "rows", ("h", "c"))
    log_odds = graph.feed_forward("judge", graph.node("Concat", hidden, "rows", axis=2))
    if "row_judge.0.weight" in dump.weights:
        both = graph.node("Add", log_odds, graph.feed_forward("row_judge", "rows"))
        log_odds = graph.node("Mul", both, graph.constant(np.float32(0.5)))
    session = graph.session(
        {"rows": shape, "h": state_shape, "c": state_shape},
        {log_odds: (*shape[:2], 1), h_after: state_shape, c_after: state_shape},
    )
    zeros = np.zeros(state_shape, np.float32)

    def run() -> list[np.ndarray]:
        h, c, found = zeros, zeros, []
        for step in steps:
            log_odds, h, c = session.run(None, {"rows": step, "h": h, "c": c})
            found.append(log_odds)
        return found if queued == 1 else found[0]

    # Bound memory: states change places between two pieces, and every step has its own log-odds. What is made from an
    # array borrows its memory: `run` keeps these arrays alive.
    borrowed = onnxruntime.OrtValue.ortvalue_from_numpy
    start = (borrowed(zeros), borrowed(zeros))
    pieces = [(onnx_memory(state_shape), onnx_memory(state_shape)) for _ in range(2)]
    results = [onnx_memory((*shape[:2], 1)) for _ in steps]
    bindings = []
    for index, step in enumerate(steps):
        binding = session.io_binding()
        before = start if index == 0 else pieces[(index + 1) % 2]
        for name, piece in zip(("rows", "h", "c"), (borrowed(step), *before)):
            binding.bind_ortvalue_input(name, piece)
        for name, piece in zip((log_odds, h_after, c_after), (results[index], *pieces[index % 2])):
            binding.bind_ortvalue_output(name, piece)
        bindings.append(binding)

    def run_bound() -> list[np.ndarray]:
        for binding in bindings:
            session.run_with_iobinding(binding)
        found = [result.numpy() for result in results]
        return found if queued == 1 else found[0]

    return [Form("arrays", run), Form("bound memory", run_bound)]


def onnx_memory(shape: tuple) -> onnxruntime.OrtValue:
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cpu")


# Cases


Forms = dict[str, list[Form]]
"""By peer."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def checked(model: str, cases: dict[object, tuple[Forms, np.ndarray]]) -> dict[object, Forms]:
    """Runs every form of all cases once; ends the program where scores are not those that stand beside the forms."""
    for peer in PEERS:
        worst = max(form.disagreement(scores) for forms, scores in cases.values() for form in forms[peer])
        say(f"{model}: scores of tapewatch and {peer} differ by {worst:.1e} at most")
        # A NaN is no agreement either.
        if not worst <= DISAGREEMENT_MAX:
            sys.exit(f"{model}: scores of {peer} disagree: expected at most {DISAGREEMENT_MAX}, found {worst}")
    return {key: forms for key, (forms, _) in cases.items()}


def window_forms(model: str, dump: Dump) -> dict[int, Forms]:
    def case(batch: int):
        forms = {"pytorch": torch_windows(dump, batch), "onnxruntime": onnx_windows(dump, batch)}
        return forms, dump.scores[:batch]

    return checked(model, {batch: case(batch) for batch in BATCHES})


def carried_forms(model: str, dump: Dump) -> dict[tuple[int, int], Forms]:
    def case(instruments: int, queued: int):
        forms = {
            "pytorch": torch_carried(dump, instruments, queued),
            "onnxruntime": onnx_carried(dump, instruments, queued),
        }
        return forms, dump.scores[:instruments]

    return checked(model, {key: case(*key) for key in CARRIED})


def print_line(case: str, unit: str, found: dict[str, float | None]) -> None:
    """Prints a case, of which more is better unless the unit is seconds."""
    peers = [found[peer] for peer in PEERS if found[peer] is not None]
    is_time = unit.startswith("seconds")
    ratio = min(peers) / found["tapewatch"] if is_time else found["tapewatch"] / max(peers)
    digits = 3 if is_time else None
    speeds = {name: None if speed is None else round(speed, digits) for name, speed in found.items()}
    print(json.dumps({"case": case, **speeds, "ratio": round(ratio, 3), "unit": unit}), flush=True)


def timed(
    cases: dict[object, Forms],
    tapewatch: Callable[[], dict[object, float]],
    rounds: int,
    millis: int,
) -> dict[object, dict[str, tuple[float, str]]]:
    """Times cases by turns with tapewatch (speeds by case); gives, by case and peer, seconds of a run and the form.

    Tapewatch's entry holds its best speed.
    """
    kept = {key: {peer: try_out(forms) for peer, forms in peers.items()} for key, peers in cases.items()}
    speeds = dict.fromkeys(cases, 0.0)
    for _ in range(rounds):
        for key, speed in tapewatch().items():
            speeds[key] = max(speeds[key], speed)
        for peers in kept.values():
            for form in (form for forms in peers.values() for form in forms):
                form.measure(millis)
    found = {}
    for key, peers in kept.items():
        best = {peer: fastest(forms) for peer, forms in peers.items()}
        found[key] = {"tapewatch": (speeds[key], "")} | {peer: (form.seconds, form.name) for peer, form in best.items()}
    return found


def compare_windows(model: str, cases: dict, kernel: Bench, path: str, rounds: int, millis: int) -> None:
    only = words(model=model, decoder="unconditioned", path=path, k=WINDOWS[model], windows="series")

    def tapewatch() -> dict[int, float]:
        lines = kernel.run("--rounds", "1", "--millis", str(millis), "--only", only)
        return {line["batch"]: line["windows_per_sec"] for line in lines}

    found = timed(cases, tapewatch, rounds, millis)
    speeds = {peer: {batch: batch / found[batch][peer][0] for batch in BATCHES} for peer in PEERS}
    for peer in PEERS:
        texts = (f"{batch}: {speeds[peer][batch]:,.0f} ({found[batch][peer][1]})" for batch in BATCHES)
        say(f"{model}: {peer}, windows/s by batch: " + ", ".join(texts))
    best = {peer: max(speeds[peer][batch] for batch in BATCHES if batch > 1) for peer in PEERS}
    for batch in BATCHES:
        peers = {peer: speeds[peer][1] if batch == 1 else best[peer] for peer in PEERS}
        print_line(f"{model} batch {batch}", "windows_per_sec", {"tapewatch": found[batch]["tapewatch"][0]} | peers)


def compare_carried(model: str, dump: Dump, cases: dict, kernel: Bench, path: str, rounds: int, millis: int) -> None:
    def tapewatch() -> dict[tuple[int, int], float]:
        lines = []
        for queued in sorted({queued for _, queued in CARRIED}):
            only = words(model=model, path=path, context="carried", queued=queued)
            lines += kernel.run("--rounds", "1", "--millis", str(millis), "--only", only)
        speeds = {(line["batch"], line["queued"]): line["ticks_per_sec"] for line in lines}
        return {key: speeds[key] for key in CARRIED}

    found = timed(cases, tapewatch, rounds, millis)
    for (instruments, queued), by in found.items():
        case = f"{model} carried, instruments {instruments}, queued {queued}"
        ticks = instruments * dump.inputs.shape[1]
        speeds = {peer: ticks / by[peer][0] for peer in PEERS}
        say(f"{case}: " + ", ".join(f"{peer}: {speeds[peer]:,.0f} ticks/s ({by[peer][1]})" for peer in PEERS))
        print_line(case, "ticks_per_sec", {"tapewatch": by["tapewatch"][0]} | speeds)


def compare_training(model: str, dump: Dump, train: Bench, rounds: int, batches: int) -> None:
    only = words(model=model, decoder="unconditioned", implementation="kernel")
    forms = torch_training(dump, batches)
    tapewatch = float("inf")
    # A first run costs more: memory is new.
    for form in forms:
        form.measure(millis=0)
    for _ in range(rounds):
        (line,) = train.run("--rounds", "1", "--batches", str(batches), "--only", only)
        tapewatch = min(tapewatch, line["seconds_per_epoch"])
        for form in forms:
            form.measure(millis=0)
    best = fastest(forms)
    seconds = best.seconds / batches * TRAINING_WINDOWS / TRAINING_BATCH
    say(f"{model} train: pytorch: {best.name}; seconds per epoch are those of {batches} batches, scaled")
    print_line(f"{model} train", "seconds_per_epoch", {"tapewatch": tapewatch, "pytorch": seconds, "onnxruntime": None})


def pin() -> None:
    """Keeps this process, and those that it starts, on one core."""
    if hasattr(os, "sched_setaffinity"):
        core = max(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {core})
        say(f"all run on core {core}")
    else:
        say("this system pins no processes: close everything else")


def options() -> argparse.Namespace:
    first, *rest = __doc__.split("\n\n")
    parser = argparse.ArgumentParser(
        description=first, epilog="\n\n".join(rest), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few short rounds")
    parser.add_argument("--rounds", type=int, help="rounds, of which the best counts (7; quick: 2)")
    parser.add_argument("--millis", type=int, help="length of a round of one case (milliseconds; 100; quick: 20)")
    parser.add_argument("--batches", type=int, help="batches of a round of training (10; quick: 2)")
    parser.add_argument("--bench-binary", metavar="FILE", help="the bench `kernel`, already built")
    parser.add_argument("--train-binary", metavar="FILE", help="the bench `train`, already built")
    chosen = parser.parse_args()
    rounds, millis, batches = (2, 20, 2) if chosen.quick else (7, 100, 10)
    chosen.rounds = chosen.rounds or rounds
    chosen.millis = chosen.millis or millis
    chosen.batches = chosen.batches or batches
    return chosen


def main() -> None:
    chosen = options()
    # Before the pinning: cargo may build on all cores.
    kernel = Bench("kernel", chosen.bench_binary)
    try:
        train = Bench("train", chosen.train_binary)
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"training is left out: {error}")
        train = None
    pin()
    torch.set_num_threads(1)
    # Said at every change of `torch.backends.mkldnn`, about other hardware.
    warnings.filterwarnings("ignore", message="TF32 acceleration")
    with tempfile.TemporaryDirectory() as folder:
        kernel.run("--dump", folder)
        dumps = {name: Dump(Path(folder, f"{name}.safetensors")) for name in (*WINDOWS, "judge", "judge+ff")}
    windows = {model: window_forms(model, dumps[model]) for model in WINDOWS}
    carried = {model: carried_forms(model, dumps[model]) for model in ("judge", "judge+ff")}
    path = best_path(kernel)
    say(f"tapewatch runs its path {path}")
    for model in WINDOWS:
        compare_windows(model, windows[model], kernel, path, chosen.rounds, chosen.millis)
    compare_carried("judge+ff", dumps["judge+ff"], carried["judge+ff"], kernel, path, chosen.rounds, chosen.millis)
    for model in WINDOWS if train else ():
        try:
            # Its rounds are long.
            compare_training(model, dumps[model], train, min(chosen.rounds, 3), chosen.batches)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            say(f"{model} train is left out: {error}")


if __name__ == "__main__":
    main()
