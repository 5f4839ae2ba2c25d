"""How a model is trained: the budget and the recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from chargen.config.fields import check_types, documented, require
from chargen.config.reading import TEXT

RECURRENT_INITS = ("auto", "orthogonal", "xavier", "identity")
INPUT_INITS = ("xavier", "orthogonal")
OPTIMIZERS = ("adamw", "adam", "rmsprop", "sgd")
PRECISIONS = ("auto", "float32", "bfloat16")
DEFAULT_TIME = 300.0  # seconds that a run takes when no budget is given
OPTIMIZATION, REGULARIZATION, START = "Optimization", "Regularization", "Initialization"


@dataclass(frozen=True)
class TrainConfig:
    """Budget, optimization, regularization and initialization of one training run."""

    time: float | None = documented(
        None, "Time for everything: 90s, 5m, 1h30m; default: 5m.", metavar="DURATION"
    )
    steps: int | None = documented(None, "Number of optimizer steps.")
    epochs: float | None = documented(None, "Number of epochs.")
    seed: int = documented(0, "Random seed of weights, dropout and samples; default: random.")
    val_frac: float = documented(0.1, "Fraction of the text for validation, at its end.", TEXT)
    test_frac: float = documented(
        0.0, "Fraction after that for testing, at the end of a run.", TEXT
    )
    batch_size: int = documented(32, "Batch size: streams of text read side by side.", OPTIMIZATION)
    bptt: int = documented(64, "Steps of truncated back-propagation through time.", OPTIMIZATION)
    optimizer: str = documented("adamw", f"Optimizer: {', '.join(OPTIMIZERS)}.", OPTIMIZATION)
    learning_rate: float | None = documented(
        None, "Peak learning rate; default: by cell.", OPTIMIZATION, "--lr", "--learning-rate"
    )
    warmup: float = documented(0.05, "Fraction of the run for the warm-up.", OPTIMIZATION)
    clip: float = documented(1.0, "Clip the norm of the gradient at this value.", OPTIMIZATION)
    ema: float = documented(
        0.99, "Decay of the averaged weights (EMA) per step; 0 turns them off.", OPTIMIZATION
    )
    precision: str = documented(
        "auto", f"Precision: {', '.join(PRECISIONS)}; auto takes the faster.", OPTIMIZATION
    )
    patience: int = documented(
        10, "Stop after this many evaluations above the best; 0: never.", OPTIMIZATION
    )
    dropout: float | None = documented(
        None, "Dropout between layers and before the head; default: by epochs.", REGULARIZATION
    )
    weight_drop: float | None = documented(
        None, "Dropout of the recurrent weights; default: by epochs.", REGULARIZATION
    )
    ngrams: bool = documented(
        True,
        "Mix n-gram counts in; the model file then holds the text.",
        REGULARIZATION,
        "--ngrams/--no-ngrams",
    )
    ngram_dropout: float | None = documented(
        None, "Dropout of n-gram embeddings, row by row; default: by epochs.", REGULARIZATION
    )
    label_dropout: float = documented(
        0.1, "Fraction of the texts that are read without their label.", REGULARIZATION
    )
    weight_decay: float = documented(
        0.1, "Weight decay of the matrices (adamw only).", REGULARIZATION
    )
    recurrent_init: str = documented(
        "auto", f"Recurrent weights: {', '.join(RECURRENT_INITS)}.", START
    )
    recurrent_scale: float = documented(1.0, "Factor on the initial recurrent weights.", START)
    input_init: str = documented("xavier", f"Input weights: {', '.join(INPUT_INITS)}.", START)
    forget_bias: float = documented(1.0, "Initial bias of the forget gates.", START)

    def __post_init__(self) -> None:
        check_types(self)
        fits = self.time is None or 0 < self.time <= 1e9
        require(fits, "time", self.time, "more than 0 seconds, up to 1e9")
        fits = self.steps is None or 0 < self.steps <= 1e12
        require(fits, "steps", self.steps, "1 to 1e12")
        fits = self.epochs is None or 0 < self.epochs <= 1e9
        require(fits, "epochs", self.epochs, "more than 0, up to 1e9")
        require(1 <= self.batch_size <= 4096, "batch-size", self.batch_size, "1 to 4096")
        require(1 <= self.bptt <= 65536, "bptt", self.bptt, "1 to 65536")
        require(self.optimizer in OPTIMIZERS, "optimizer", self.optimizer, ", ".join(OPTIMIZERS))
        rate = self.learning_rate
        require(rate is None or 0 < rate < 1e3, "learning rate", rate, "more than 0, below 1000")
        require(0 <= self.warmup <= 1, "warm-up", self.warmup, "0 to 1")
        require(self.clip > 0, "clip", self.clip, "more than 0")
        require(self.weight_decay >= 0, "weight decay", self.weight_decay, "0 or more")
        used = self.optimizer == "adamw" or self.weight_decay in (0, TrainConfig.weight_decay)
        require(used, "weight decay", self.weight_decay, "0, unless --optimizer is adamw")
        for name in ("dropout", "ngram_dropout"):
            rate = getattr(self, name)
            require(0 <= (rate or 0) < 1, name.replace("_", "-"), rate, "0 to below 1")
        require(0 <= self.label_dropout <= 1, "label-dropout", self.label_dropout, "0 to 1")
        drop = self.weight_drop
        require(0 <= (drop or 0) <= 0.9, "weight-drop", drop, "0 to 0.9")
        require(0 <= self.ema < 1, "ema", self.ema, "0 to below 1")
        for name, inits in (("recurrent", RECURRENT_INITS), ("input", INPUT_INITS)):
            init = getattr(self, f"{name}_init")
            require(init in inits, f"{name}-init", init, ", ".join(inits))
        require(
            0 <= self.recurrent_scale <= 100, "recurrent-scale", self.recurrent_scale, "0 to 100"
        )
        require(abs(self.forget_bias) <= 100, "forget-bias", self.forget_bias, "-100 to 100")
        require(self.patience >= 0, "patience", self.patience, "0 (never) or more")
        require(self.precision in PRECISIONS, "precision", self.precision, ", ".join(PRECISIONS))
        require(0 <= self.seed < 1 << 63, "seed", self.seed, "0 to 2^63 - 1")
        require(0 <= self.val_frac <= 0.5, "val-frac", self.val_frac, "0 to 0.5")
        require(0 <= self.test_frac <= 0.5, "test-frac", self.test_frac, "0 to 0.5")
        both = self.val_frac + self.test_frac
        require(both < 1, "val-frac and test-frac together", both, "below 1")

    def to_json(self) -> dict[str, Any]:
        """Return plain data from which ``TrainConfig(**data)`` makes the same config."""
        return asdict(self)
