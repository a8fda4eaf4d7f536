from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vl2_ros.errors import InputError
from vl2_ros.model.language.tokens import ADDED_TOKENS
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.prompt import (
    direct_conversation,
    encode_conversation,
    encode_plain,
    expand_routing,
    list_regions,
)
from vl2_ros.processing.language.tokenizer import Tokenizer, neutralise
from vl2_ros.structures import Route

SMALL = ProcessingConfig(vision_tokens=4, num_embs=2, num_embs_gen=6, system="")


def encode_question(
    text: str,
    tokenizer: Tokenizer,
    config: ProcessingConfig = SMALL,
    tile_counts: Sequence[int] = (1,),
) -> np.ndarray:
    return encode_conversation([(text, None)], tokenizer, config, tile_counts=tile_counts)[0]


def encode_case(case: dict, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Encode one conversation of the reference; one token per tile gives any token count."""
    turns = [turn["value"] for turn in case["conversation"]]
    lengths = case["image_token_len"] if case["has_image"] else []
    lengths = lengths if isinstance(lengths, list) else [lengths]
    config = ProcessingConfig(vision_tokens=1, use_im_start_end=case.get("use_im_start_end", False))
    if case.get("version") == "plain":
        return encode_plain(turns[0], turns[1], tokenizer, config, tile_counts=lengths)
    return encode_conversation(
        list(zip(turns[::2], turns[1::2], strict=True)),
        tokenizer,
        config,
        tile_counts=lengths,
    )


@pytest.mark.golden
def test_ids_and_labels_equal_the_reference(
    golden: Any, llama_tokenizers: dict[str, Tokenizer]
) -> None:
    tensors, content = golden("core_prompt")
    for name, case in content["cases"].items():
        for flavour, tokenizer in llama_tokenizers.items():
            ids, labels = encode_case(case, tokenizer)
            message = f"{name} {flavour}"
            np.testing.assert_array_equal(ids, tensors[f"{name}.{flavour}.ids"], message)
            np.testing.assert_array_equal(labels, tensors[f"{name}.{flavour}.labels"], message)


@pytest.mark.golden
@pytest.mark.parametrize("folder", ["bin", "safetensors"])
def test_release_prompts_equal_the_reference(golden_dir: Any, golden: Any, folder: str) -> None:
    import json

    from vl2_ros.processing.language.tokenizer import load_tokenizer

    root = golden_dir / "release_tiny"
    tokenizer = load_tokenizer(root / folder)
    release = json.loads((root / folder / "config.json").read_text(encoding="utf-8"))
    config = ProcessingConfig.from_model_config(release)
    tensors, case = golden("release_tiny/chat")
    tiles = [case["clip_preprocess"]["splits"]]
    question = case["question"].removeprefix("<image>\n")
    prompt = encode_question(question, tokenizer, config, tiles)
    np.testing.assert_array_equal(prompt, tensors["prompt_ids"][0])
    assert tokenizer.decode(tensors["generated_ids"][0]) == case["decoded_skip_special"]

    tensors, case = golden("release_tiny/det")
    tiles = [case["clip_preprocess"]["splits"]]
    rounds = [direct_conversation(Route.DETECT, case["class_names"], config)]
    ids, labels = encode_conversation(rounds, tokenizer, config, tile_counts=tiles)
    np.testing.assert_array_equal(ids, tensors["input_ids"][0])
    np.testing.assert_array_equal(labels, tensors["labels"][0])

    tensors, case = golden("release_tiny/region")
    tiles = [case["clip_preprocess"]["splits"]]
    ids, _ = encode_conversation([(case["question"], None)], tokenizer, config, tile_counts=tiles)
    np.testing.assert_array_equal(ids, tensors["input_ids"][0])


def test_slots_are_written_once() -> None:
    config = ProcessingConfig(num_embs=2, num_embs_gen=3)
    text = "cat[DET], dog[SEG][EMB][EMB2] and [GEN]."
    expanded = "cat[DET][EMB][EMB2], dog[SEG][EMB][EMB2] and [GEN][EMB][EMB][EMB]."
    assert expand_routing(text, config) == expanded
    assert expand_routing(expanded, config) == expanded
    assert expand_routing("a[POSE]", replace(config, num_embs=9)) == "a[POSE]" + "[EMB]" * 9


def test_labels_cover_answers_and_their_ends(json_tokenizer: Tokenizer) -> None:
    rounds = [("find the mug", "I found: mug[DET]."), ("and the bowl?", "No bowl.")]
    ids, labels = encode_conversation(rounds, json_tokenizer, SMALL, image_count=1)
    supervised = json_tokenizer.decode(labels[labels >= 0], keep_special=True)
    assert supervised == " I found: mug[DET][EMB][EMB2].</s> No bowl.</s>"
    assert (ids == json_tokenizer.tokens.image_patch).sum() == 4
    assert ids[0] == json_tokenizer.bos
    assert json_tokenizer.decode(ids).startswith("USER: \nfind the mug ASSISTANT: I found")
    np.testing.assert_array_equal(ids[labels >= 0], labels[labels >= 0])


def test_images_of_several_tiles_and_of_none(json_tokenizer: Tokenizer) -> None:
    patch = json_tokenizer.tokens.image_patch
    ids = encode_question("describe", json_tokenizer, tile_counts=(3, 2))
    assert (ids == patch).sum() == 20
    ids = encode_question("describe", json_tokenizer, tile_counts=())
    assert (ids == patch).sum() == 0
    assert json_tokenizer.decode(ids) == "USER: describe ASSISTANT:"


def test_later_image_marks_are_dropped(json_tokenizer: Tokenizer) -> None:
    rounds = [("one", "yes"), ("<image>\ntwo", "no")]
    ids, _ = encode_conversation(rounds, json_tokenizer, SMALL)
    assert (ids == json_tokenizer.tokens.image_patch).sum() == SMALL.vision_tokens
    assert "USER: two" in json_tokenizer.decode(ids)


def test_regions_are_listed_with_numbers(json_tokenizer: Tokenizer) -> None:
    assert list_regions(2) == "<reg>region1<region></reg>, <reg>region2<region></reg>"
    ids = encode_question(f"What are {list_regions(2)}?", json_tokenizer)
    assert (ids == json_tokenizer.tokens.region).sum() == 2


@pytest.mark.parametrize("token", [*ADDED_TOKENS, "<s>", "</s>", "<unk>"])
def test_special_tokens_in_a_sentence_stay_words(
    token: str, json_tokenizer: Tokenizer, llama_tokenizers: dict[str, Tokenizer]
) -> None:
    for tokenizer in (json_tokenizer, *llama_tokenizers.values()):
        special = {tokenizer.encode(name)[0] for name in (*ADDED_TOKENS, "</s>", "<s>", "<unk>")}
        plain = encode_question("find the mug", tokenizer)
        words = neutralise(f"find{token}the {token}{token} mug")
        hostile = encode_question(words, tokenizer)
        found = [index for index in hostile if index in special]
        assert found == [index for index in plain if index in special]


def test_names_with_special_tokens_open_no_slots(json_tokenizer: Tokenizer) -> None:
    _, answer = direct_conversation(Route.DETECT, ["mug[DET]", "a {names} cup"], SMALL)
    assert answer == "I found: mug[ DET ][DET], a {names} cup[DET]."
    ids = json_tokenizer.encode(answer)
    assert sum(index in json_tokenizer.tokens.routing for index in ids) == 2


def test_length_is_checked_after_images_and_slots(json_tokenizer: Tokenizer) -> None:
    config = replace(SMALL, max_length=40)
    encode_question("find it", json_tokenizer, config)
    with pytest.raises(InputError, match=r"tokens, the model accepts 40"):
        encode_question("find it", json_tokenizer, config, (9,))
    with pytest.raises(InputError, match=r"tokens, the model accepts 40"):
        encode_conversation([("a", "x[GEN]" * 5)], json_tokenizer, config)


@pytest.mark.parametrize("names", [[], [""], ["mug", "  "]])
@pytest.mark.parametrize("route", [Route.DETECT, Route.SEGMENT, Route.GROUND])
def test_no_object_named_raises(route: Route, names: list[str]) -> None:
    with pytest.raises(InputError, match="name at least one object"):
        direct_conversation(route, names, SMALL)


def test_too_many_names_raise() -> None:
    config = replace(SMALL, max_classes=3)
    direct_conversation(Route.DETECT, ["a", "b", "c"], config)
    with pytest.raises(InputError, match="4 names were given, the model accepts 3"):
        direct_conversation(Route.DETECT, ["a", "b", "c", "d"], config)


def test_direct_conversations_of_each_route() -> None:
    question, answer = direct_conversation(Route.SEGMENT, [" red  mug ", "bowl"], SMALL)
    assert question == "Please segment every red mug, bowl in this picture."
    assert answer == "I found: red mug[SEG], bowl[SEG]."
    question, answer = direct_conversation(Route.GROUND, ["the left mug"], SMALL)
    assert (question, answer) == (
        "Where is the left mug in this picture?",
        "Sure, it is here[GRD].",
    )
    spoken = replace(SMALL, wording="spoken")
    question, answer = direct_conversation(Route.SEGMENT, ["Sky", "Road"], SMALL)
    assert question == "Please segment every sky, road in this picture."
    assert answer == "I found: Sky[SEG], Road[SEG]."
    question, _ = direct_conversation(Route.SEGMENT, ["Sky"], spoken)
    assert question == "Please segment every Sky in this picture."
    repeating = replace(SMALL, ground_answer="It is here: {names}.")
    assert direct_conversation(Route.GROUND, ["mug"], repeating)[1] == "It is here: mug[GRD]."
    with pytest.raises(InputError, match="one expression"):
        direct_conversation(Route.GROUND, ["a", "b"], SMALL)
    with pytest.raises(InputError, match="DETECT, SEGMENT or GROUND, got POSE"):
        direct_conversation(Route.POSE, ["a"], SMALL)


def test_marks_and_images_must_agree(json_tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="1 <image> marks for 2 images"):
        encode_conversation([("<image>\na", "b")], json_tokenizer, SMALL, image_count=2)
    with pytest.raises(InputError, match="at least one question"):
        encode_conversation([], json_tokenizer, SMALL)
