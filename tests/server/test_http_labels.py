"""Labels and records over HTTP: in one batch, in scores, in errors, in the list of models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chargen.sampling.sampler import Sampler, load
from tests.labelled import LABELS, LINES, ROWS, save_labelled
from tests.server.serving import Server, serving

pytest.importorskip("uvicorn", reason="no uvicorn")
A, B = set("abcde"), set("vwxyz")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Sampler]]:
    folder = tmp_path_factory.mktemp("labelled")
    rows = save_labelled(folder / "rows/model.safetensors", **ROWS)
    save_labelled(folder / "lines/model.safetensors", **LINES)
    with serving(folder, "-m", "rows") as server:
        yield server, load(rows, threads=1)


def test_texts_of_different_labels_stand_in_one_batch(served: tuple[Server, Sampler]) -> None:
    server, sampler = served
    asked = {"a": A, "b": B, None: A | B, "a=0.9,b=0.1": A | B}
    for label, letters in asked.items():
        answer = server.complete("", label=label, n=3, seed=5).data
        texts = [choice["text"] for choice in answer["choices"]]
        assert set("".join(texts)) <= letters
        assert {choice["finish_reason"] for choice in answer["choices"]} == {"stop"}
        own = sampler if label is None else sampler.labelled(label)
        assert texts == [text.text for text in own.generate_batch("", 3, seed=5)]
    answer = server.complete(["a", "ab"], label={"a": 2, "b": 2}, seed=5, echo=True).data
    one, two = (choice["text"] for choice in answer["choices"])
    assert one.startswith("a")
    assert two.startswith("ab")


def test_scores_are_those_of_the_label(served: tuple[Server, Sampler]) -> None:
    server, _ = served
    bits = {label: server.post("/v1/score", text="abc", label=label).data["bits"] for label in "ab"}
    assert bits["b"] > bits["a"] + 30
    first = server.post("/v1/surprisal", text="abc", label="a").data["tokens"][0]
    assert {guess["text"] for guess in first["guesses"]} <= A
    for label in ("a", "b"):  # the states after a long beginning are kept for each label
        found = server.post("/v1/next", prompt="a" * 700, label=label, top=3).data["next"]
        assert {row["text"] for row in found} & (A if label == "a" else B)
        assert not {row["text"] for row in found} & (B if label == "a" else A)
        ghost = server.post("/v1/ghost", text="a" * 700, label=label)
        assert ghost.status == 200
    answer = server.complete("ab", label="a", max_tokens=0, echo=True, logprobs=0).data
    (choice,) = answer["choices"]
    assert None not in choice["logprobs"]["token_logprobs"]
    streamed = server.complete("ab", label="a", max_tokens=1, echo=True, logprobs=0).data
    assert streamed["usage"]["prompt_tokens"] == 2
    tokens = streamed["choices"][0]["logprobs"]["token_logprobs"][:2]
    assert tokens == pytest.approx(choice["logprobs"]["token_logprobs"], abs=1e-4)


def test_what_is_refused_says_what_there_is(served: tuple[Server, Sampler]) -> None:
    server, _ = served
    for label, said in {
        "c": "label is 'c'; allowed: 'a', 'b', 'a, or b=c'",
        "a=x": "label 'a' has the weight 'x'; allowed: a number above 0",
    }.items():
        for answer in (
            server.complete(label=label),
            server.post("/v1/score", text="a", label=label),
        ):
            assert answer.status == 400
            assert answer.error["param"] == "label"
            assert said in answer.error["message"]
    assert server.complete(label=3).error["param"] == "label"
    assert server.complete(label={"a": -1}).status == 400
    ended = server.complete("a\x1eb")
    assert "prompt holds '\\x1e', which ends a record" in ended.error["message"]
    assert "the model has no labels" in server.complete(model="english", label="a").error["message"]


def test_models_say_their_labels_and_the_end_of_a_record(served: tuple[Server, Sampler]) -> None:
    server, _ = served
    models = {model["id"]: model for model in server.get("/v1/models").data["data"]}
    assert models["rows"]["labels"] == list(LABELS)
    ends = {name: model["record_end"] for name, model in models.items()}
    assert (ends["rows"], ends["lines"], ends["english"]) == ("\x1e", "\n", None)
    assert models["english"]["labels"] == []
    form = server.get("/openapi.json").data["paths"]["/v1/completions"]["post"]["requestBody"]
    assert "label" in form["content"]["application/json"]["schema"]["properties"]


def test_labels_are_told_by_bayes_rule(served: tuple[Server, Sampler]) -> None:
    server, _ = served
    answer = server.post("/v1/classify", input=["abc", "xyz"], prior="uniform").data
    assert [row["label"] for row in answer["data"]] == ["a", "b"]
    for row in answer["data"]:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["probabilities"][row["label"]] == max(row["probabilities"].values()) > 0.9
    (one,) = server.post("/v1/classify", input="abc").data["data"]
    assert one["label"] == "a"
    assert server.post("/v1/classify", input=[]).error["param"] == "input"
    assert server.post("/v1/classify", input="a", prior="best").error["param"] == "prior"
    assert (
        "has no labels" in server.post("/v1/classify", model="english", input="a").error["message"]
    )
