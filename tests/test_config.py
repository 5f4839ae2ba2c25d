from __future__ import annotations

import dataclasses

import pytest

from chargen.config import TrainConfig, help_of
from chargen.errors import ConfigError
from chargen.model.spec import LayerConfig, ModelConfig, format_stack, parse_stack


def test_a_stack_is_read_bottom_first_and_written_back() -> None:
    layers = parse_stack("gru:128, lstm:64")
    assert layers == (LayerConfig("gru", 128), LayerConfig("lstm", 64))
    assert format_stack(layers) == "gru:128,lstm:64"


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ("", "stack part '' is not CELL:WIDTH; write for example gru:128,lstm:64"),
        ("lstm", "stack part 'lstm' is not CELL:WIDTH"),
        ("lstm:12,", "stack part '' is not CELL:WIDTH"),
        ("lstm:-3", "stack part 'lstm:-3' is not CELL:WIDTH"),
        ("lstm:0", "hidden size is 0; allowed: 1 to 16384"),
        ("lstm:99999", "hidden size is 99999; allowed: 1 to 16384"),
        ("tcn:12", "cell is 'tcn'; allowed: rnn, rnn-relu, lstm"),
    ],
)
def test_a_wrong_stack_is_explained(stack: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_stack(stack)
    assert str(error.value).startswith(message)


def test_a_model_config_survives_json() -> None:
    config = ModelConfig(66, parse_stack("gru:128,lstm:64,rnn:3"), 32)
    assert ModelConfig.from_json(config.to_json()) == config
    assert config.head_inputs == 195


@pytest.mark.parametrize("field", ["vocab_size", "embedding"])
@pytest.mark.parametrize("value", ["12", 1.5, None, True, 0, -1, 1 << 40])
def test_a_hostile_model_config_is_refused(field: str, value: object) -> None:
    data = {**ModelConfig(66).to_json(), field: value}
    with pytest.raises(ConfigError, match="allowed"):
        ModelConfig.from_json(data)


def test_too_many_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match="number of layers is 65; allowed: 1 to 64"):
        ModelConfig(10, (LayerConfig("rnn", 1),) * 65)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("time", 0.0, "time is 0.0; allowed: more than 0 seconds"),
        ("time", float("inf"), "time is inf"),
        ("time", float("nan"), "time is nan"),
        ("steps", 0, "steps is 0; allowed: 1 to 1e12"),
        ("epochs", 0.0, "epochs is 0.0; allowed: more than 0, up to 1e9"),
        ("batch_size", 0, "batch-size is 0; allowed: 1 to 4096"),
        ("batch_size", 4097, "batch-size is 4097"),
        ("bptt", 0, "bptt is 0; allowed: 1 to 65536"),
        ("optimizer", "lion", "optimizer is 'lion'; allowed: adamw, adam, rmsprop, sgd"),
        ("learning_rate", 0.0, "learning rate is 0.0"),
        ("warmup", 1.1, "warm-up is 1.1; allowed: 0 to 1"),
        ("clip", 0.0, "clip is 0.0; allowed: more than 0"),
        ("weight_decay", -0.1, "weight decay is -0.1; allowed: 0 or more"),
        ("dropout", 1.0, "dropout is 1.0; allowed: 0 to below 1"),
        ("ema", 1.0, "ema is 1.0; allowed: 0 to below 1"),
        ("precision", "int8", "precision is 'int8'; allowed: auto, float32, bfloat16"),
        ("seed", -1, "seed is -1"),
        ("val_frac", 0.6, "val-frac is 0.6; allowed: 0 to 0.5"),
    ],
)
def test_a_setting_out_of_range_is_named(name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        dataclasses.replace(TrainConfig(), **{name: value})  # type: ignore[arg-type]
    assert str(error.value).startswith(message)


def test_every_setting_has_a_help_text() -> None:
    for field in dataclasses.fields(TrainConfig):
        assert len(help_of(TrainConfig, field.name)) > 10


def test_a_train_config_survives_json() -> None:
    config = TrainConfig(steps=3, dropout=0.5, seed=9)
    assert TrainConfig(**config.to_json()) == config
