"""Instructions as hashed words, and the table of encoders."""

import warnings
from pathlib import Path
from typing import cast

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from experiment.errors import UserError
from experiment.settings import CONFIGS, build
from worldmodel import text
from worldmodel.data.adapter import Adapter
from worldmodel.data.formats.episode import Episodes
from worldmodel.data.formats.lerobot import LeRobotEpisodes
from worldmodel.data.formats.rlds import RldsEpisodes
from worldmodel.data.formats.storage import Storage
from worldmodel.text import Instructions
from worldmodel.text.words import HashedWords

CPU = torch.device("cpu")
DATA = Path(__file__).parents[1] / "data"


def ids(*instructions: str, words: int = 4) -> torch.Tensor:
    return HashedWords(words=words, width=8).embed(instructions, CPU)


def test_words_have_numbers_that_never_change() -> None:
    found = ids("Open top drawer.", "open  TOP drawer")
    assert torch.equal(found[0], found[1])
    assert found[0].tolist() == [1874, 5787, 1721, 0]


def test_order_counts_and_a_cut_is_said_once() -> None:
    encoder = HashedWords(words=4, width=9)
    with pytest.warns(UserWarning, match=r"'a b c d e' has 5 words .* text.words=4"):
        found = encoder.embed(["a b c d e", "a b c d", "b a c d"], CPU)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.embed(["a b c d e f"], CPU)


RLDS = {
    "rlds/fractal20220817_data/0.1.0": "fractal20220817_data",
    "rlds/bridge_dataset/0.1.0": "bridge_dataset",
    "rollouts/fractal20220817_data/0.1.0": "fractal20220817_data",
    "rollouts/bridge_dataset/1.0.0": "bridge_dataset",
}
LEROBOT = sorted(str(info.parents[1].relative_to(DATA)) for info in DATA.glob("**/meta/info.json"))


@pytest.mark.parametrize("folder", [*RLDS, *LEROBOT])
def test_no_instruction_of_the_data_sets_here_is_cut_by_default(folder: str) -> None:
    if folder in RLDS:
        described = OmegaConf.load(CONFIGS / f"adapter/{RLDS[folder]}.yaml")
        adapter = build(cast(DictConfig, described), Adapter)
        episodes: Episodes = RldsEpisodes.open(Storage(str(DATA / folder)), "train")
    else:
        adapter = Adapter("any", image="", instruction="task")
        episodes = LeRobotEpisodes(str(DATA / folder))
    numbers = range(len(episodes.lengths))
    texts = {text for number in numbers for text in adapter.instructions(episodes[number])}
    assert any(texts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HashedWords().embed(sorted(texts), CPU)


def test_the_words_of_the_tasks_do_not_collide() -> None:
    words = "pick coke can move near place apple into open close top middle bottom drawer orange"
    assert len({ids(word)[0, 0].item() for word in words.split()}) == len(words.split())


def test_each_instruction_is_embedded_once_and_tokens_have_places() -> None:
    asked: list[str] = []

    class Counting(HashedWords):
        def embed(self, instructions, device):  # type: ignore[no-untyped-def]
            asked.extend(instructions)
            return super().embed(instructions, device)

    known = Instructions(Counting(words=4, width=8))
    tokens = known.tokens(["open drawer", "close drawer", "open drawer"], CPU)
    assert tokens.values.shape == (3, 4)
    assert torch.equal(tokens.values[0], tokens.values[2])
    assert tokens.position[0].tolist() == [[-1, -1, i] for i in range(4)]
    known.tokens(["close drawer"], CPU)
    assert asked == ["open drawer", "close drawer", ""]


def test_an_encoder_is_restored_by_a_name_in_a_closed_table() -> None:
    encoder = HashedWords(words=5, vocabulary=100, width=3)
    assert text.restore(encoder.config()) == encoder
    for section, words in (
        (None, "must be an object"),
        ({"kind": "os.system"}, r"text.kind='os.system' is unknown"),
        ({"_target_": "os.system", "kind": "words"}, "has no such setting"),
        ({"kind": "word"}, "Did you mean 'words'"),
        ({"kind": "words", "words": "5"}, r"text.words='5' must be like 24"),
        ({"kind": "words", "words": 0}, "at least 1"),
        ({"kind": "transformers"}, "incomplete"),
    ):
        with pytest.raises(UserError, match=words):
            text.restore(section)
