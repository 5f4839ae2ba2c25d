"""The routes, by the clients that people have, against a real server process."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chargen.config import SampleConfig
from chargen.evaluation.surprisal import score_text
from chargen.sampling.ghost import Lookahead
from chargen.sampling.sampler import Sampler, load
from chargen.server.settings import ServeConfig
from chargen.tokenizers import build_tokenizer
from chargen.tokenizers.byte import replaced
from tests.conftest import Run, write
from tests.hashing import hashing
from tests.processes import finish
from tests.server.serving import Server, serving
from tests.server.test_http_safety import in_thread

openai = pytest.importorskip("openai")
pytest.importorskip("uvicorn")

TEXT = "The value of the object\nis a string."


@pytest.fixture(scope="module")
def server(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of three runs, which are one."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("small", "other", "third"):
        shutil.copytree(trained / "small", folder / name)
    with serving(folder, "-m", "small") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def sampler(trained: Path) -> Sampler:
    return load(trained / "small")


# -- the client of OpenAI -----------------------------------------------------------------


def test_a_client_completes(client: Any) -> None:
    done = client.completions.create(model="small", prompt="The", max_tokens=20, seed=5)
    again = client.completions.create(model="small", prompt="The", max_tokens=20, seed=5)
    (choice,) = done.choices
    assert (len(choice.text), choice.finish_reason, choice.index) == (20, "length", 0)
    assert done.usage.model_dump(
        include={"prompt_tokens", "completion_tokens", "total_tokens"}
    ) == {
        "prompt_tokens": 3,
        "completion_tokens": 20,
        "total_tokens": 23,
    }
    assert again.choices[0].text == choice.text
    assert again.id != done.id


def test_a_client_streams(client: Any) -> None:
    settings = {"model": "small", "prompt": "The", "max_tokens": 50, "seed": 5}
    whole = client.completions.create(**settings)
    options = {"include_usage": True}
    *events, last = client.completions.create(**settings, stream=True, stream_options=options)
    assert "".join(event.choices[0].text for event in events) == whole.choices[0].text
    assert [event.choices[0].finish_reason for event in events][-1] == "length"
    assert len({event.id for event in [*events, last]}) == 1
    assert (last.choices, last.usage.completion_tokens) == ([], 50)


def test_a_client_gets_logprobs(client: Any, sampler: Sampler) -> None:
    done = client.completions.create(
        model="small", prompt="The v", max_tokens=8, logprobs=3, seed=1
    )
    text, scores = done.choices[0].text, done.choices[0].logprobs
    assert scores.tokens == list(text)
    assert scores.text_offset == [5 + n for n in range(8)]
    scored = score_text(sampler, text, sampler.read("The v"))
    assert scores.token_logprobs == pytest.approx([-t.nats for t in scored.tokens], abs=1e-4)
    for token, logprob, best in zip(
        scores.tokens, scores.token_logprobs, scores.top_logprobs, strict=True
    ):
        assert best[token] == logprob
        assert 3 <= len(best) <= 4


def test_a_client_lists_models(client: Any) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "small"
    assert set(names) == {"small", "other", "third", "english", "python"}
    assert client.models.retrieve("other").owned_by == "chargen"
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4' here; known: 'small'"):
        client.models.retrieve("gpt-4")


def test_a_client_chats(client: Any) -> None:
    messages = [
        {"role": "system", "content": "A talk."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
    ]
    settings = {"model": "small", "messages": messages, "seed": 2}
    done = client.chat.completions.create(**settings, max_completion_tokens=30)
    message = done.choices[0].message
    prompt = "A talk.\nuser: Hello\nassistant: "
    plain = client.completions.create(model="small", prompt=prompt, max_tokens=30, seed=2)
    assert (message.role, message.content) == ("assistant", plain.choices[0].text)
    begun = [*messages, {"role": "assistant", "content": message.content[:10]}]
    rest = client.chat.completions.create(
        model="small", messages=begun, temperature=0, max_tokens=5
    ).choices[0]
    assert len(rest.message.content) == 5  # of the same message, which is not begun anew
    events = list(client.chat.completions.create(**settings, max_tokens=30, stream=True))
    assert events[0].choices[0].delta.role == "assistant"
    assert "".join(e.choices[0].delta.content for e in events) == message.content
    assert events[-1].choices[0].finish_reason == "length"
    scored = client.chat.completions.create(**settings, max_tokens=2, logprobs=True, top_logprobs=2)
    tokens = scored.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == message.content[:2]
    assert [len(token.top_logprobs) for token in tokens] == [2, 2]


def test_a_model_that_is_not_there_is_named_with_those_that_are(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.completions.create(model="gpt-3.5-turbo-instruct", prompt="The")
    assert refused.value.code == "model_not_found"
    known = refused.value.message.partition("known: ")[2]
    assert known.startswith("'small', ")
    assert known.endswith(", 'english', 'python'")
    for path in ("../small", "/etc/passwd", "small/model.safetensors", ".", "small/"):
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model=path, prompt="The")


def test_another_model_is_loaded_when_it_is_asked_for(server: Server) -> None:
    for name in ("other", "third", "small"):  # two have a place in memory
        assert server.complete(model=name, max_tokens=2).data["model"] == name
    assert server.metric("chargen_models_in_memory") == 2
    facts = {model["id"]: model["in_memory"] for model in server.get("/v1/models").data["data"]}
    assert [name for name, loaded in facts.items() if loaded] == ["small", "third"]


# -- the same as elsewhere ----------------------------------------------------------------


def test_curl_streams(server: Server) -> None:
    if not (curl := shutil.which("curl")):
        pytest.skip("no curl")
    fields = {"prompt": "The", "max_tokens": 30, "seed": 5, "stream": True}
    header = ("-H", "Content-Type: application/json", "-d", json.dumps(fields))
    done = finish([curl, "-sN", *header, f"{server.url}/v1/completions"], text=True)
    *events, last, end = done.stdout.split("\n\n")
    assert (last, end) == ("data: [DONE]", "")
    data = [json.loads(event.removeprefix("data: ")) for event in events]
    text = "".join(event["choices"][0]["text"] for event in data)
    assert text == server.complete(max_tokens=30, seed=5).data["choices"][0]["text"]


def test_a_seed_gives_the_text_of_the_command(
    server: Server, chargen: Run, with_model: Path
) -> None:
    done = chargen("sample", "-p", "The", "-n", 80, "--seed", 9, "--top-k", 20, "--min-p", 0.05)
    fields = {"max_chars": 80, "seed": 9, "top_k": 20, "min_p": 0.05}
    choice = server.complete(**fields).data["choices"][0]
    assert f"The{choice['text']}" == done.stdout.removesuffix("\n")[: 80 + 3]
    echoed = server.complete(**fields, echo=True).data["choices"][0]["text"]
    assert echoed == f"The{choice['text']}"
    random = server.complete(max_tokens=20).data
    again = server.complete(max_tokens=20, seed=random["seed"]).data
    assert again["choices"] == random["choices"]


def test_echo_without_new_tokens_is_score_is_the_command(
    server: Server, chargen: Run, with_model: Path
) -> None:
    write("text.txt", TEXT)
    lines = chargen("score", "text.txt", "--json").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    scored = server.post("/v1/score", text=TEXT).data
    assert scored["tokens"] == rows
    assert scored["bits"] == pytest.approx(sum(row["bits"] for row in rows), abs=1e-4)
    echoed = server.complete(TEXT, max_tokens=0, echo=True, logprobs=2).data["choices"][0]
    assert echoed["text"] == TEXT
    assert echoed["logprobs"]["token_logprobs"] == [row["logprob"] for row in rows]
    assert echoed["logprobs"]["text_offset"] == list(range(len(TEXT)))


def test_the_next_token_is_that_of_the_command(
    server: Server, chargen: Run, with_model: Path
) -> None:
    own = json.loads(chargen("next", "-p", TEXT, "--top", 3, "--json").stdout)
    answer = server.post("/v1/next", prompt=TEXT, top=3).data
    assert answer.pop("model") == "small"
    assert answer.keys() == own.keys()
    assert [n["token"] for n in answer["next"]] == [n["token"] for n in own["next"]]
    assert answer["entropy"] == pytest.approx(own["entropy"], abs=1e-4)


def test_surprisal_has_guesses(server: Server) -> None:
    answer = server.post("/v1/surprisal", text=TEXT, top=2).data
    scored = server.post("/v1/score", text=TEXT).data
    assert [t["bits"] for t in answer["tokens"]] == [t["bits"] for t in scored["tokens"]]
    assert all(len(token["guesses"]) == 2 for token in answer["tokens"])
    assert answer["bits_per_char"] == pytest.approx(answer["bits"] / len(TEXT), abs=1e-5)


def test_ghost_text_is_that_of_the_session(server: Server, sampler: Sampler) -> None:
    for text in ("The value o", "", "is a str", TEXT * 40 + "\nThe val"):
        expected = Lookahead(sampler, None).ghost(text, 40, 10.0)
        found = server.post("/v1/ghost", text=text, max_chars=40).data["text"]
        assert expected.startswith(found)  # it ends early where the machine is busy
        assert bool(found) == bool(expected)


# -- what OpenAI's form offers ------------------------------------------------------------


def test_several_prompts_and_texts(server: Server) -> None:
    fields = {"max_tokens": 12, "seed": 4, "n": 2, "echo": True}
    choices = server.post("/v1/completions", prompt=["The", "A b"], **fields).data["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3]
    assert [choice["text"][:3] for choice in choices] == ["The", "The", "A b", "A b"]
    alone = server.complete(**fields).data["choices"]
    assert choices[:2] == alone
    assert alone[0]["text"] != alone[1]["text"]
    answer = server.post("/v1/completions", prompt=["The", "A b"], **fields, stream=True).body
    texts = dict.fromkeys(range(4), "")
    for event in answer.decode().split("\n\n")[:-2]:
        (choice,) = json.loads(event.removeprefix("data: "))["choices"]
        texts[choice["index"]] += choice["text"]
    assert list(texts.values()) == [choice["text"] for choice in choices]


def test_a_stop_text_and_biases(server: Server) -> None:
    whole = server.complete(max_tokens=60, seed=5).data["choices"][0]["text"]
    stop = whole[20:23]
    answer = server.complete(max_tokens=60, seed=5, stop=[stop]).data["choices"][0]
    assert (answer["text"], answer["finish_reason"]) == (whole[: whole.index(stop)], "stop")
    (space,) = (
        row["token"]
        for row in server.post("/v1/next", prompt="The", top=50).data["next"]
        if row["text"] == " "
    )
    banned = server.complete(max_tokens=60, seed=5, logit_bias={str(space): -100})
    assert " " not in banned.data["choices"][0]["text"]
    line = server.complete(until="line", max_chars=2000, seed=5).data["choices"][0]
    assert line["finish_reason"] == "stop"
    assert "\n" not in line["text"].strip()
    digits = server.complete(regex="[0-9]{4}").data["choices"][0]
    assert digits["text"].isdigit()
    assert digits["finish_reason"] in ("stop", "length")


def test_tokens_that_are_bytes(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = hashing(build_tokenizer("byte", "", 0))
    with in_thread(trained, monkeypatch, ServeConfig(port=0), lambda _: sampler) as server:
        fields = {"echo": True, "logprobs": 2, "seed": 1}
        choice = server.complete("\u00e9t\u00e9", max_tokens=0, **fields).data["choices"][0]
        assert choice["logprobs"]["tokens"] == ["\u00e9", "t", "\u00e9"]
        answer = server.complete("\u00e9t\u00e9", max_tokens=6, **fields).data
        scores = answer["choices"][0]["logprobs"]
        assert answer["usage"]["completion_tokens"] == 6
        assert scores["tokens"][:5] == ["\\xc3", "\\xa9", "t", "\\xc3", "\\xa9"]
        assert scores["text_offset"][:6] == [0, 0, 1, 2, 2, 3]
        assert all(len(best) >= 2 for best in scores["top_logprobs"][1:])
        expected = sampler.generate_batch("\u00e9t\u00e9", length=6, seed=1)[0].text
        assert answer["choices"][0]["text"][3:] == replaced(
            expected[: len(answer["choices"][0]["text"]) - 3]
        )
        chars = server.complete("a", max_chars=6, seed=1).data["choices"][0]["text"]
        assert len(chars) == 6


def test_unknown_characters_are_told(server: Server) -> None:
    assert "'\u96ea'" in server.complete("\u96ea", max_tokens=1).data["warning"]
    assert "warning" not in server.complete(max_tokens=1).data


ECHO = {"echo": True, "logprobs": 0, "max_tokens": 1}
WRONG: list[tuple[dict[str, Any], str | None, str]] = [
    ({"temperature": 200}, "temperature", "temperature is 200; allowed: 0 to 100"),
    ({"temperature": "hot"}, "temperature", "temperature is 'hot'; allowed: a number"),
    ({"top_p": 0}, "top_p", "top-p is 0; allowed: more than 0, up to 1"),
    ({"max_token": 5}, None, "'max_token' is not a field; did you mean max_tokens?"),
    ({"max_tokens": -1}, "max_tokens", "max_tokens is -1; allowed: 0 to 65,536"),
    ({"max_tokens": 10**400}, "max_tokens", "max_tokens is a huge number; allowed"),
    ({"max_tokens": 2.5}, "max_tokens", "max_tokens is 2.5; allowed: a whole number"),
    ({"n": 0}, "n", "n is 0; allowed: 1 to 128"),
    ({"prompt": [1, 2]}, "prompt[0]", "prompt[0] is 1; allowed: a text"),
    ({"prompt": []}, "prompt", "prompt has 0 entries; allowed: 1 to 128"),
    ({"prompt": "a\ud800"}, "prompt", "prompt has a lone surrogate, U+D800 at character 1"),
    ({"best_of": 3}, "best_of", "best_of is 3; allowed: n"),
    ({"suffix": "end"}, "suffix", "suffix is not supported: the model reads from left"),
    ({"stop": ["a"] * 17}, "stop", "stop has 17 entries; allowed: 0 to 16"),
    ({"stop": ""}, "stop", "stop is ''; allowed: 1 characters or more"),
    ({"logit_bias": {"x": 1}}, "logit_bias", "logit_bias has the key 'x'"),
    ({"logit_bias": {"0": 1}}, "logit_bias", "logit_bias has the key '0'"),
    ({"logit_bias": {"99999": 1}}, "logit_bias", "logit_bias has the key '99999'"),
    ({"until": "page"}, "until", 'until is \'page\'; allowed: "sentence", "line", "paragraph"'),
    ({"regex": "("}, "regex", "regex"),
    ({"no_copy": 20}, "no_copy", "no_copy needs the index of the training text, which 'small'"),
    ({"regex": "[a-z]{9}", "max_tokens": 5}, "max_chars", "max_chars is 5; allowed: 9 or more"),
    ({"regex": "a{1200}"}, "regex", "which needs more than 1,000 states, too many for a server"),
    ({"logprobs": 5, "n": 64, "max_tokens": 60000}, "logprobs", "too many scores"),
    (ECHO | {"n": 64, "prompt": "x" * 5000}, "logprobs", "too many scores"),
    (ECHO | {"max_tokens": 0, "n": 64, "prompt": "x" * 5000}, "logprobs", "too many scores"),
    (ECHO | {"max_tokens": 0, "logprobs": 50, "prompt": ["x" * 3000] * 2}, "logprobs", "too many"),
    ({"logit_bias": dict.fromkeys(map(str, range(2000)), "x")}, "logit_bias", "has 2,000 entries"),
    ({"stream_options": {"usage": True}}, None, "'stream_options.usage' is not a field"),
    ({"prompt": ["x" * 140_000] * 2}, "prompt", "prompt has 280,000 characters together; allowed"),
    ({"prompt": "x" * 262_145}, "prompt", "prompt has 262,145 characters; allowed: up to"),
]


@pytest.mark.parametrize(("fields", "param", "words"), WRONG, ids=[str(w[2])[:40] for w in WRONG])
def test_what_is_wrong_is_named(
    server: Server, trained: Path, fields: dict[str, Any], param: str | None, words: str
) -> None:
    answer = server.post("/v1/completions", **fields)
    assert answer.status == 400
    assert words in answer.error["message"]
    assert str(trained.parent.parent) not in answer.error["message"]
    assert (answer.error["type"], answer.error["param"]) == ("invalid_request_error", param)


def test_the_description_has_every_field(server: Server) -> None:
    described = server.get("/openapi.json").data
    assert described["openapi"].startswith("3.1")
    assert {"/v1/completions", "/v1/models/{id}", "/health", "/metrics"} <= described[
        "paths"
    ].keys()
    operation = described["paths"]["/v1/completions"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    own = {field.name for field in dataclasses.fields(SampleConfig)} - {"length"}
    assert own | {"max_tokens", "echo", "logprobs", "regex"} <= schema["properties"].keys()
    assert schema["additionalProperties"] is False
    assert all(field["anyOf"][0].get("description") for field in schema["properties"].values())


def test_null_is_a_field_that_is_not_given(server: Server) -> None:
    nulls = dict.fromkeys(("suffix", "stop", "logprobs", "logit_bias", "user", "n", "stream"))
    assert server.complete(max_tokens=5, **nulls).status == 200


BODIES = [b"", b"[]", b"5", b"{", b'{"a": NaN}', b'{"temperature": 1e999}', b"[" * 100_000]
BODIES += [b"\xff", b'{"n": ' + b"9" * 5000 + b"}", '{"prompt": "\ufeff"}'.encode("utf-16")]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_what_is_no_json_is_refused(server: Server, body: bytes) -> None:
    answer = server.request("POST", "/v1/completions", body, content_type="application/json")
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error"), answer
