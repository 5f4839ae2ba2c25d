"""N-gram embeddings against their equation; the history of a text is part of the state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chargen.config import TrainConfig
from chargen.errors import ConfigError
from chargen.model.language_model import LanguageModel
from chargen.model.ngram_embedding import NGramEmbedding
from chargen.model.ngrams import CODES, FACTOR, NGramConfig, token_codes
from chargen.model.spec import ModelConfig, parse_stack, weight_shapes

PIECES = (b"\xef\xbf\xbd", *(bytes([c]) for c in b"abcdefg\n"), "日本".encode())
CONFIG = NGramConfig((11, 101, 257), token_codes(PIECES))


def row(ids: list[int], place: int, order: int) -> int:
    """Return the row of the n-gram that ends at a place, by the equation, in whole numbers."""
    rows = CONFIG.rows[order - 2]
    codes = [CONFIG.codes[ids[t]] if t >= 0 else 0 for t in range(place - order + 1, place + 1)]
    total: int = sum(code * FACTOR**back for back, code in enumerate(reversed(codes)))
    return total % rows + sum(CONFIG.rows[: order - 2])


def embedding(seed: int = 0) -> NGramEmbedding:
    module = NGramEmbedding(CONFIG, 4)
    torch.nn.init.normal_(module.table.weight, generator=torch.Generator().manual_seed(seed))
    return module


def test_the_rows_are_those_of_the_equation_and_each_order_has_its_own() -> None:
    module, ids = embedding(), np.random.default_rng(1).integers(len(PIECES), size=(3, 20))
    rows, _ = module.rows(torch.from_numpy(ids), *module.init_state(3))
    expected = [
        [[row(text.tolist(), place, order) for order in (2, 3, 4)] for place in range(20)]
        for text in ids
    ]
    assert rows.tolist() == expected
    values, _ = module(torch.from_numpy(ids), *module.init_state(3))
    sums = module.table.weight.detach()[torch.tensor(expected)].sum(dim=2)
    torch.testing.assert_close(values.detach(), sums)


def test_pieces_of_a_text_give_what_the_whole_gives() -> None:
    module, ids = embedding(), torch.randint(len(PIECES), (2, 30))
    whole, last = module(ids, *module.init_state(2))
    (history,) = module.init_state(2)
    parts = []
    for piece in ids.split([1, 2, 1, 20, 6], dim=1):
        values, history = module(piece, history)
        parts.append(values)
    assert torch.equal(torch.cat(parts, dim=1), whole)
    assert torch.equal(history, last)
    assert history[0, 0].tolist() == [CONFIG.codes[i] for i in ids[0, -3:]]


def test_codes_come_from_the_text_of_a_token_alone() -> None:
    assert token_codes([b"a", b"b"]) == (98, 99)
    assert token_codes(reversed(PIECES)) == tuple(reversed(CONFIG.codes))
    assert all(1 <= code <= CODES for code in token_codes([b"\xff" * 40, b""]))
    assert max(map(max, CONFIG.factors())) * CODES * len(CONFIG.rows) < 1 << 53  # exact in a double


def test_the_gradient_touches_the_rows_of_the_batch_only() -> None:
    module, ids = embedding(), torch.randint(len(PIECES), (2, 9))
    rows, _ = module.rows(ids, *module.init_state(2))
    module(ids, *module.init_state(2))[0].sum().backward()
    gradient = module.table.weight.grad
    assert gradient is not None and gradient.is_sparse
    assert set(gradient.coalesce().indices()[0].tolist()) == set(rows.flatten().tolist())
    counts = torch.bincount(rows.flatten(), minlength=len(module.table.weight)).float()
    torch.testing.assert_close(gradient.to_dense(), counts[:, None].expand(-1, 4))


def test_a_new_model_with_n_grams_starts_as_one_without() -> None:
    ids = torch.randint(len(PIECES), (2, 12))
    logits = []
    for ngrams in (None, CONFIG):
        config = ModelConfig(len(PIECES), parse_stack("gru:5,lstm:4"), 6, ngrams)
        assert ModelConfig.from_json(config.to_json()) == config
        model = LanguageModel(config, TrainConfig(seed=1))
        shapes = {name: weight.shape for name, weight in model.weights().items()}
        assert shapes == weight_shapes(config)
        logits.append(model(ids, model.init_state(2))[0])
    assert torch.equal(*logits)


@pytest.mark.parametrize(
    ("rows", "codes"),
    [((), (1,)), ((0,), (1,)), ((3,) * 16, (1,)), ((1 << 25,), (1,)), ((3,), (0,)), ((3,), (1.5,))],
)
def test_what_cannot_be_a_table_is_refused(rows: tuple[int, ...], codes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        NGramConfig(rows, codes)
    with pytest.raises(ConfigError, match="codes of tokens is 1; allowed: 2"):
        ModelConfig(2, ngrams=NGramConfig((3,), (1,)))
