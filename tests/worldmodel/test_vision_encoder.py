"""The outside teacher of `repa`, on small random encoders of the classes it may be."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from experiment.errors import UserError
from experiment.files import read_records
from tests.worldmodel import tiny
from worldmodel import pretrain
from worldmodel.assembler import Assembler
from worldmodel.data.encoded import EncodedBatch
from worldmodel.data.windows import WindowConfig
from worldmodel.loss import losses
from worldmodel.objective import Objective
from worldmodel.text.words import HashedWords
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.training import checkpoint
from worldmodel.vision_encoder import VisionEncoder

pytestmark = [
    pytest.mark.slow,  # importing transformers takes seconds
    pytest.mark.skipif(find_spec("transformers") is None, reason="needs the extra text"),
]
TOKENIZER = PixelTokenizer(height=32, width=48, patch=16, tubelet=2)
SIZE = {
    "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip


def save(kind: str, folder: Path) -> Path:
    import transformers

    torch.manual_seed(0)
    if kind == "siglip":
        config: Any = transformers.SiglipVisionConfig(**SIZE)
        transformers.SiglipVisionModel(config).save_pretrained(folder)
    elif kind == "clip":
        config = transformers.CLIPVisionConfig(**SIZE)
        transformers.CLIPVisionModel(config).save_pretrained(folder)
    elif kind == "registers":
        config = transformers.Dinov2WithRegistersConfig(**SIZE, num_register_tokens=3)
        transformers.Dinov2WithRegistersModel(config).save_pretrained(folder)
    else:
        config = transformers.Dinov2Config(**SIZE)
        transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["dinov2", "registers", "clip", "siglip"])
def test_a_token_gets_the_features_of_its_place_and_frames(kind: str, tmp_path: Path) -> None:
    encoder = VisionEncoder(str(save(kind, tmp_path)), at_once=3)
    frames = torch.zeros(2, 4, 32, 48, 3, dtype=torch.uint8)
    found = encoder.features(frames, TOKENIZER)
    assert encoder.width == 8
    assert (found.shape, found.dtype) == ((2, 2 * 2 * 3, 8), torch.float32)
    changed = frames.clone()
    changed[1, 2:] = torch.randint(0, 256, (32, 48, 3), generator=tiny.generator()).byte()
    moved = (encoder.features(changed, TOKENIZER) - found).abs().amax(-1).view(2, 2, 6)
    assert moved[0].max() < 1e-5
    assert moved[1, 0].max() < 1e-5
    assert moved[1, 1].min() > 1e-3


def test_it_teaches_the_video_tokens_alone(tmp_path: Path) -> None:
    """Actions have no features of pictures to agree with."""
    encoder = VisionEncoder(str(save("dinov2", tmp_path)))
    settings = Objective(arm="repa", outside=encoder)
    model = tiny.model(config=settings.headed(tiny.CONFIG))
    batch = tiny.batch()
    video = batch["video"]
    target = torch.randn(3, 4, 8, generator=tiny.generator())
    with_target = {**batch, "video": replace(video, target=target)}
    found = losses(model, None, with_target, tiny.generator(), settings)
    assert found["cosine"].isfinite()
    plain = losses(model, None, batch, tiny.generator(), Objective(arm="flow_matching"))
    assert torch.equal(found["generation"], plain["generation"])
    assert "cosine" not in losses(model, None, batch, tiny.generator(), settings)
    with pytest.raises(UserError, match="head returns 8 channels, its teacher has 32"):
        Objective().check(model.modalities, model.config)


def test_pretraining_with_it(tmp_path: Path) -> None:
    folder = save("dinov2", tmp_path / "encoder")
    root = tiny.write_data_set(tmp_path / "data")
    run = tmp_path / "run"
    pretrain.main([
        "objective=repa", f"objective.outside.name={folder}", f"data.root={root}", f"out={run}",
        "model=tiny", "tokenizer.height=32", "tokenizer.width=48", "trainer.steps=3",
        "trainer.log_every=1", "trainer.device=cpu", "samples.sampling.steps=2",
        "data.use.batch_size=4", f"data.source.cache={tmp_path / 'cache'}", "data.source.workers=0",
        "data=lerobot", "data.camera=observation.images.head",
    ])  # fmt: skip
    log = read_records(run / "log.jsonl")
    assert all(-1 <= record["cosine"] <= 1 for record in log if "cosine" in record)
    assert "excess_cosine" in log[0]
    assert checkpoint.load(run / "checkpoint").model.config.projected == 8


def test_what_it_cannot_be(tmp_path: Path) -> None:
    import transformers

    with pytest.raises(UserError, match="no vision encoder there"):
        _ = VisionEncoder(str(tmp_path)).width
    transformers.GPT2Config(n_embd=8).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a gpt2, which is not supported"):
        _ = VisionEncoder(str(tmp_path)).width
    with pytest.raises(UserError, match="at_once=0"):
        VisionEncoder("x", at_once=0)


def test_tokens_have_no_pictures_to_show_it(tmp_path: Path) -> None:
    assembler = Assembler(
        TOKENIZER, HashedWords(), WindowConfig((1, 2)), outside=VisionEncoder(str(tmp_path))
    )
    batch = EncodedBatch(
        frame=torch.zeros(1, 6, 768), video=torch.zeros(1, 6, 1536),
        video_valid=torch.ones(1, 6, dtype=torch.bool), action=torch.zeros(1, 6, 0),
        action_valid=torch.ones(1, 6, dtype=torch.bool), state=torch.zeros(1, 0),
        instructions=[""],
    )  # fmt: skip
    with pytest.raises(UserError, match="needs pictures, data=tokens has none"):
        assembler(batch)
