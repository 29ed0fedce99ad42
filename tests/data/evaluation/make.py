#!/usr/bin/env python3
"""Makes the labelled scores and alerts of this folder, and score.py's figures of them.

    python3 make.py /path/to/score.py

Writes labels.csv, lengths.json, scores.csv and alerts.csv, which score.py reads with this folder as its SETDIR, and
scores.golden.json and alerts.golden.json, what `score.py --json` prints. Needs numpy and pandas (made with numpy 2.4).

The scores hold what a re-implementation may get wrong: ties (few decimals), both infinities, ticks without a row, long
episodes, an event at the very end, overlapping events, and scales that differ between instruments.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).resolve().parent
SEED = 20131008
# instrument -> (ticks, events, scale of the scores, share of ticks that have a row)
INSTRUMENTS = {"B": (5000, 14, 1.0, 1.0), "A": (4000, 11, 1.4, 0.9), "C.X": (3000, 8, 0.7, 0.4)}
# Few decimals make ties, many make the choice of thresholds matter.
DECIMALS = {"B": 2, "A": 4, "C.X": 2}
# kind -> (length of an event at most, what it adds to the scores)
KINDS = {"spike": (1, 2.0), "stale": (300, 0.6), "burst": (40, 1.2), "unseen": (20, 0.0)}
LONG_EPISODES = (("B", 300), ("A", 700))


def make_events(random: np.random.Generator, ticks: int, count: int) -> list[tuple[int, int, str]]:
    events = [(ticks - 3, ticks - 1, "burst")]
    for _ in range(count - 2):
        kind = str(random.choice(list(KINDS)))
        length = int(random.integers(1, KINDS[kind][0] + 1))
        start = int(random.integers(0, ticks - length))
        events.append((start, start + length - 1, kind))
    first, last, _ = events[1]
    events.append((first, min(ticks - 1, last + 5), "spike"))  # overlaps another
    return events


def make_scores(random: np.random.Generator, name: str, events: list[tuple[int, int, str]]) -> pd.DataFrame:
    ticks, _, scale, share = INSTRUMENTS[name]
    scores = random.normal(0.0, 0.4, ticks)
    for start, end, kind in events:
        lag = int(random.integers(0, min(12, end - start + 1)))
        scores[start + lag : end + 1] += KINDS[kind][1] * random.uniform(0.5, 1.5)
    for long_name, length in LONG_EPISODES:
        if long_name == name:
            start = int(random.integers(0, ticks - length))
            scores[start : start + length] += 0.5
    scores = np.round(scores * scale, DECIMALS[name]) + 0.0
    scores[random.integers(0, ticks, 20)] = -np.inf
    scores[events[0][0] + 1] = np.inf
    if name == "B":
        scores[random.integers(0, ticks)] = np.inf
    table = pd.DataFrame({"instrument": name, "seq": np.arange(ticks), "score": scores})
    return table[random.random(ticks) < share]


def main() -> None:
    random = np.random.default_rng(SEED)
    labels, scores = [], []
    for name, (ticks, count, _, _) in INSTRUMENTS.items():
        events = make_events(random, ticks, count)
        labels += [(name, *event) for event in events]
        scores.append(make_scores(random, name, events))
    table = pd.concat(scores)
    alerts = table[table["score"] > 1.1][["instrument", "seq"]].sample(frac=0.6, random_state=SEED)

    pd.DataFrame(labels, columns=["instrument", "start_seq", "end_seq", "kind"]).to_csv(
        FOLDER / "labels.csv", index=False
    )
    lengths = {name: ticks for name, (ticks, *_) in INSTRUMENTS.items()}
    (FOLDER / "lengths.json").write_text(json.dumps(lengths) + "\n")
    table.to_csv(FOLDER / "scores.csv", index=False)
    alerts.to_csv(FOLDER / "alerts.csv", index=False)
    for kind in ("scores", "alerts"):
        command = [sys.executable, sys.argv[1], str(FOLDER), f"--{kind}", str(FOLDER / f"{kind}.csv"), "--json"]
        figures = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        (FOLDER / f"{kind}.golden.json").write_text(figures)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
