"""Two command lines for each option of each command, which differ in it: see ``test_options``."""

from __future__ import annotations

Row = tuple[str, str]
TRAIN = "a.txt b.jsonl --name a --force --threads 1 --precision float32 --batch-size 4 --bptt 8"
DEFAULTS = {  # of the rows of train that say nothing of the same
    ("--stack", "--preset", "--hidden", "--base"): "--hidden 8 --layers 1",
    ("--time", "--epochs", "--steps"): "--steps 4",
    ("--seed",): "--seed 1",
}
SAMPLE = "-n 300 --seed 1 -p 'The value'"
DRY = f"{SAMPLE} -t 0 --dry-multiplier 1"
MIROSTAT = f"{SAMPLE} --temp 2 --mirostat 2"
CELLS = "text.txt --cells rnn --json --steps 1 --steps-back 2 --seed 1"

MODEL = ("-m small", "-m other.safetensors")
DEVICE = ("--device cpu", "--device cuda")  # without a GPU that is refused
THREADS = ("--threads 2", "--threads 3")
INT8 = ("", "--int8")
JSON = ("", "--json")
LIKE_LATIN = ("text.txt", "text.txt --encoding latin-1")


def after(words: str, *row: str) -> Row:
    """Return a row with the same words before both of its sides."""
    before, changed = row if len(row) == 2 else ("", *row)
    return f"{words} {before}", f"{words} {changed}"


MACHINE = {"device": DEVICE, "threads": THREADS, "int8": INT8}

ROWS: dict[str, dict[str, Row]] = {
    "": {
        "version": ("cells", "--version"),
        "debug": ("info -m gone", "--debug info -m gone"),
    },
    "train": {
        "corpus": ("", "b.jsonl"),
        "tokenizer": ("", "--tokenizer byte"),
        "vocab_size": after("--tokenizer bpe", "--vocab-size 300", "--vocab-size 310"),
        "encoding": ("", "--encoding latin-1"),
        "newlines": ("", "--newlines keep"),
        "separator": ("", "--separator '|'"),
        "field": ("", "--field text"),
        "stack": ("--stack lstm:8", "--stack gru:8"),
        "cell": ("", "--cell gru"),
        "hidden": ("", "--hidden 9"),
        "layers": ("", "--layers 2"),
        "embedding": ("", "--embedding 7"),
        "time": ("--steps 4", "--time 1"),
        "steps": ("--steps 4", "--steps 5"),
        "epochs": ("--epochs 1", "--epochs 2"),
        "seed": ("--seed 1", "--seed 2"),
        "val_frac": ("", "--val-frac 0.3"),
        "test_frac": ("", "--test-frac 0.3"),
        "batch_size": ("", "--batch-size 3"),
        "bptt": ("", "--bptt 9"),
        "optimizer": ("", "--optimizer sgd"),
        "learning_rate": ("", "--lr 0.1"),
        "warmup": ("", "--warmup 1"),
        "clip": ("", "--clip 0.001"),
        "ema": ("", "--ema 0"),
        "precision": ("", "--precision bfloat16"),
        "patience": after("--lr 3 --steps 60", "--patience 0", "--patience 1"),
        "dropout": ("", "--dropout 0.5"),
        "weight_drop": ("", "--weight-drop 0.5"),
        "ngram_order": ("", "--ngram-order 5"),
        "ngram_dropout": ("", "--ngram-dropout 0.9"),
        "ngrams": ("", "--no-ngrams"),
        "weight_decay": ("", "--weight-decay 9"),
        "recurrent_init": ("", "--recurrent-init identity"),
        "recurrent_scale": ("", "--recurrent-scale 2"),
        "input_init": ("", "--input-init orthogonal"),
        "forget_bias": ("", "--forget-bias 3"),
        "name": ("", "--name b"),
        "base": ("", "--base small.safetensors"),
        "preset": ("--preset tiny", "--preset small"),
        "config": ("", "--config my.toml"),
        "device": DEVICE,
        "threads": THREADS,
        "quiet": ("", "--quiet"),
        "as_json": JSON,
        "copy_index": ("", "--copy-index"),
        "tensorboard": ("", "--tensorboard board"),
    },
    "sample": {
        "length": after(SAMPLE, "-n 50"),
        "temperature": after(SAMPLE, "--temp 2"),
        "top_k": after(SAMPLE, "--top-k 1"),
        "top_p": after(SAMPLE, "--top-p 0.2"),
        "min_p": after(SAMPLE, "--min-p 0.9"),
        "typical": after(SAMPLE, "--typical 0.2"),
        "mirostat": after(f"{SAMPLE} --temp 2", "--mirostat 2"),
        "mirostat_lr": after(MIROSTAT, "--mirostat-lr 1"),
        "mirostat_ent": after(MIROSTAT, "--mirostat-ent 1"),
        "repeat_last_n": after(f"{SAMPLE} --repeat-penalty 3", "--repeat-last-n 1"),
        "repeat_penalty": after(SAMPLE, "--repeat-penalty 3"),
        "presence_penalty": after(SAMPLE, "--presence-penalty 3"),
        "frequency_penalty": after(SAMPLE, "--frequency-penalty 3"),
        "dry_multiplier": after(f"{SAMPLE} -t 0", "--dry-multiplier 1"),
        "dry_base": after(f"{SAMPLE} -t 0 --dry-multiplier 0.1", "--dry-base 9"),
        "dry_allowed_length": after(DRY, "--dry-allowed-length 9"),
        "dry_penalty_last_n": after(DRY, "--dry-penalty-last-n 4"),
        "dry_sequence_breakers": after(DRY, "--dry-sequence-breaker e"),
        "logit_bias": after(SAMPLE, "-l e-9"),
        "ban": after(SAMPLE, "--ban e"),
        "stop": after(SAMPLE, "--stop e"),
        "until": after(SAMPLE, "--until line"),
        "seed": after(SAMPLE, "--seed 2"),
        "model": after(SAMPLE, *MODEL),
        "prompt": after(SAMPLE, "-p 'Another'"),
        "file": ("-n 9 --seed 1 -f text.txt", "-n 9 --seed 1 -f old.txt"),
        "encoding": ("-n 9 --seed 1 -f text.txt", "-n 9 --seed 1 -f text.txt --encoding latin-1"),
        "num_samples": after(SAMPLE, "--num-samples 2"),
        "beam": ("-n 20 -t 0", "-n 20 --beam 2"),
        "regex": after(SAMPLE, "--regex '[a-c]*'"),
        "words": after(SAMPLE, "--words words.txt"),
        "as_json": after(SAMPLE, *JSON),
        "logprobs": after(f"{SAMPLE} --json", "--logprobs"),
        **{option: after(SAMPLE, *row) for option, row in MACHINE.items()},
    },
    "repl": {
        "temperature": after("--seed 1", "--temp 2"),
        "seed": ("--seed 1", "--seed 2"),
        "model": after("--seed 1", *MODEL),
        "length": after("--seed 1", "-n 20"),
        **{option: after("--seed 1", *row) for option, row in MACHINE.items()},
    },
    "eval": {
        "text": ("", "text.txt"),
        "model": MODEL,
        "window": ("", "--window 64"),
        "dynamic": ("", "--dynamic"),
        "with_ngram": ("", "--with-ngram"),
        "temperature_fit": ("", "--temperature-fit"),
        "encoding": LIKE_LATIN,
        "as_json": JSON,
        "device": DEVICE,
        "threads": THREADS,
    },
    "score": {
        "file": ("text.txt", "old.txt"),
        "model": after("text.txt", *MODEL),
        "per_line": after("text.txt", "--per-line"),
        "as_json": after("text.txt", *JSON),
        "as_csv": after("text.txt", "--csv"),
        "encoding": LIKE_LATIN,
        **{option: after("text.txt", *row) for option, row in MACHINE.items()},
    },
    "next": {
        "model": MODEL,
        "prompt": ("", "-p q"),
        "file": ("", "-f text.txt"),
        "encoding": ("--json -f text.txt", "--json -f text.txt --encoding latin-1"),
        "top": ("", "-n 3"),
        "as_json": JSON,
        **MACHINE,
    },
    "heat": {
        "file": ("text.txt", "old.txt"),
        "model": after("text.txt", *MODEL),
        "html": after("text.txt", "--html page.html"),
        "force": after("text.txt --html words.txt", "--force"),
        "encoding": LIKE_LATIN,
        **{option: after("text.txt", *row) for option, row in MACHINE.items()},
    },
    "info": {
        "run": ("small", "other.safetensors"),
        "model": MODEL,
        "as_json": JSON,
        "as_toml": ("", "--toml"),
    },
    "compare": {
        "runs": ("small", "other.safetensors"),
        "model": MODEL,
        "plot": ("", "--plot curves.svg"),
        "as_json": JSON,
    },
    "cells": {"kinds": ("", "lstm")},
    "doctor": {"probe": ("--no-probe", ""), "as_json": after("--no-probe", *JSON)},
    "export": {
        "onnx": ("--onnx one.onnx", "--onnx two.onnx"),
        "model": after("--onnx one.onnx", *MODEL),
        "int8": after("--onnx one.onnx", *INT8),
        "force": after("--onnx words.txt", "--force"),
    },
    "corpus stats": {
        "files": ("text.txt", "old.txt"),
        "encoding": LIKE_LATIN,
        "newlines": after("text.txt", "--newlines keep"),
        "separator": after("text.txt old.txt", "--separator '||'"),
        "field": after("b.jsonl", "--field text"),
        "as_json": after("text.txt", *JSON),
    },
    "inspect neurons": {
        "text": ("", "text.txt"),
        "model": MODEL,
        "unit": ("", "--unit c1:3"),
        "as_json": JSON,
        "plot": after("--unit c1:3", "--plot units.svg"),
        "encoding": LIKE_LATIN,
        "threads": THREADS,
    },
    "inspect gates": {
        "text": ("", "text.txt"),
        "model": MODEL,
        "as_json": JSON,
        "plot": ("", "--plot gates.svg"),
        "encoding": LIKE_LATIN,
        "threads": THREADS,
    },
    "inspect gradients": {
        "text": ("", "text.txt"),
        "model": MODEL,
        "steps_back": ("", "--steps-back 20"),
        "plot": ("", "--plot gradients.svg"),
        "as_json": JSON,
        "encoding": LIKE_LATIN,
        "threads": THREADS,
        "cells": ("text.txt", CELLS),
        "time": (CELLS, CELLS.replace("--steps 1", "--time 1")),
        "steps": after(CELLS, "--steps 0"),
        "clip": after(f"{CELLS} --steps 2", "--clip 0.001"),
        "recurrent_scale": after(CELLS, "--recurrent-scale 2"),
        "seed": after(CELLS, "--seed 2"),
    },
    "inspect memory": {
        "text": ("", "text.txt"),
        "model": MODEL,
        "longest": ("", "--longest 20"),
        "plot": ("", "--plot memory.svg"),
        "as_json": JSON,
        "encoding": LIKE_LATIN,
        "device": DEVICE,
        "threads": THREADS,
    },
}
ELSEWHERE = {
    ("", "install_completion"): "typer's own; it writes into the home folder",
    ("", "show_completion"): "typer's own; test_the_shell_completes_runs_and_cells",
    ("train", "resume"): "training/test_resume.py, stories/test_files.py",
    ("train", "force"): "test_a_name_in_use_is_refused_and_forced",
    ("sample", "stream"): "the same text, only later: cli/test_sample.py",
    ("sample", "no_copy"): "needs a copy of some length: sampling/constraints/test_copies.py",
    ("corpus fetch", "name"): "needs a server: data/test_catalogue.py",
}
