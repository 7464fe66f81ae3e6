"""Wan's autoencoder as a tokenizer, on a small random one of the same class."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from experiment.errors import UserError
from experiment.files import read_records
from worldmodel import encode, pretrain, tokenizer
from worldmodel.tokenizer.positions import video_position
from worldmodel.tokenizer.wan import WanTokenizer
from worldmodel.training import checkpoint

pytestmark = [
    pytest.mark.slow,  # importing diffusers takes seconds
    pytest.mark.skipif(find_spec("diffusers") is None, reason="needs the extra wan"),
]

CHANNELS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_wan(tmp_path_factory.mktemp("wan"))


def save_wan(path: Path) -> Path:
    import diffusers

    torch.manual_seed(0)
    network = diffusers.AutoencoderKLWan(
        base_dim=4, decoder_base_dim=4, z_dim=CHANNELS, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True], is_residual=True, in_channels=12, out_channels=12,
        patch_size=2, scale_factor_spatial=16, scale_factor_temporal=4,
        latents_mean=[0.01 * i for i in range(CHANNELS)], latents_std=[0.05] * CHANNELS,
    )  # fmt: skip
    network.save_pretrained(path)
    return path


@pytest.fixture
def wan(folder: Path) -> WanTokenizer:
    return WanTokenizer(str(folder), height=32, width=48, at_once=2, precision="float32")


def clip(batch: int = 3, length: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (batch, 1 + length, 32, 48, 3), generator=generator)
    frames = frames.to(torch.uint8)
    return frames[:, 0], frames[:, 1:]


def test_a_clip_of_1_and_4_m_frames_is_one_condition_latent_and_m_of_video(
    wan: WanTokenizer,
) -> None:
    condition, video = wan.encode(*clip())
    assert wan.grid == (2, 3)
    assert condition.shape == (3, 6, CHANNELS)
    assert video.shape == (3, 2 * 6, CHANNELS)
    assert [m.channels for m in wan.modalities] == [CHANNELS, CHANNELS]
    assert [m.predicted for m in wan.modalities] == [False, True]
    positions = video_position(wan, range(1, 9), torch.device("cpu"))
    assert positions.shape == (1, 12, 3)
    assert positions[0, 0].tolist() == [2.5, 0, 0]
    with pytest.raises(UserError, match="do not fill tokens of 4 frames"):
        video_position(wan, (1, 2), torch.device("cpu"))


def test_the_condition_depends_on_its_frame_alone(wan: WanTokenizer) -> None:
    frame, future = clip()
    condition, video = wan.encode(frame, future)
    torch.testing.assert_close(wan.encode_frame(frame), condition)
    other, moved = wan.encode(frame, future.flip(1))
    torch.testing.assert_close(other, condition)
    assert (moved - video).abs().max() > 1e-3


def test_latents_are_normalised_as_the_autoencoder_says(wan: WanTokenizer) -> None:
    frame, _ = clip()
    pixels = frame.permute(0, 3, 1, 2)[:, :, None].float() / 127.5 - 1
    with torch.no_grad():
        raw = wan._network.encode(pixels).latent_dist.mode()
    mean = torch.arange(CHANNELS) * 0.01
    wanted = (raw.flatten(2).transpose(1, 2) - mean) / 0.05
    torch.testing.assert_close(wan.encode_frame(frame), wanted, atol=1e-4, rtol=1e-4)


def test_decoding_gives_back_the_clips_shape_and_batches_do_not_matter(
    wan: WanTokenizer, folder: Path
) -> None:
    frame, future = clip()
    condition, video = wan.encode(frame, future)
    decoded = wan.decode(condition, video)
    assert (decoded.shape, decoded.dtype) == (future.shape, torch.uint8)
    assert wan.decode_frame(condition).shape == frame.shape
    alone = WanTokenizer(str(folder), height=32, width=48, at_once=1, precision="float32")
    torch.testing.assert_close(alone.encode(frame, future)[1], video, atol=1e-4, rtol=1e-4)


def test_bfloat16_agrees_within_a_bound(wan: WanTokenizer, folder: Path) -> None:
    low = WanTokenizer(str(folder), height=32, width=48, precision="bfloat16")
    exact, rounded = wan.encode(*clip())[1], low.encode(*clip())[1]
    assert rounded.dtype == torch.float32
    assert (rounded - exact).square().mean() < 0.01 * exact.square().mean()


def test_a_data_set_is_encoded_and_learned_from(folder: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[1] / "data/lerobot_v3.0"
    given = [
        "data.use.windows.future=[1,2,3,4]", "tokenizer=wan22", f"tokenizer.name={folder}",
        "tokenizer.subfolder=''", "tokenizer.height=32", "tokenizer.width=48",
        "tokenizer.precision=float32",
    ]  # fmt: skip
    source = [
        "data=lerobot",
        f"data.root={root}",
        "data.camera=observation.images.head",
        "device=cpu",
    ]
    encode.main([*source, *given, f"out={tmp_path / 'latents'}", "every=2", "shard=4"])
    run = ["data=tokens", f"data.root={tmp_path / 'latents'}", f"out={tmp_path / 'run'}"]
    size = ["model=tiny", "model.width=32", "trainer.steps=2", "trainer.log_every=1"]
    size += ["trainer.device=cpu", "samples.sampling.steps=2", "data.use.batch_size=4"]
    pretrain.main([*run, *given, *size])
    last = read_records(tmp_path / "run/log.jsonl")[-1]
    assert last["held_out/generation"] > 0
    loaded = checkpoint.load(tmp_path / "run/checkpoint")
    restored, _ = checkpoint.restored_encoders(loaded.sections, loaded.folder)
    assert restored.modalities == tuple(loaded.model.modalities[n] for n in ("frame", "video"))


def test_it_is_restored_by_its_kind_and_what_is_missing_is_said(
    wan: WanTokenizer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tokenizer.restore(wan.config()) == wan
    with pytest.raises(UserError, match="multiples of 16"):
        _ = WanTokenizer(str(folder), height=40).grid
    with pytest.raises(UserError, match="holds no Wan autoencoder"):
        _ = WanTokenizer(str(tmp_path)).modalities
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[wan\]'"):
        _ = WanTokenizer(str(folder)).modalities
