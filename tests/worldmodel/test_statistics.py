"""Statistics: measured once in a stream, kept, used as units."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.worldmodel.toy_episodes import ToyEpisodes, toy_adapter
from tests.worldmodel.toy_streams import reader, toy_set
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.pictures import Memory
from worldmodel.data.reader import DataConfig
from worldmodel.data.statistics import alike, measure, statistics


def test_statistics_are_measured_once_and_kept(tmp_path: Path) -> None:
    episodes = ToyEpisodes((30, 40, 50))
    data = toy_set(episodes)
    data.keep(1, Memory(0))
    first = statistics([data], tmp_path)
    assert (first.episodes, first.steps) == (3, 120)
    action = np.concatenate([data.canonical(n).action for n in range(3)])
    np.testing.assert_allclose(
        first.normalisation.low, np.quantile(action[:, :6], 0.01, 0), atol=6e-5
    )
    assert sum(first.histogram[1]) == 120
    np.testing.assert_array_equal(first.extremes, np.stack([action.min(0), action.max(0)], 1))
    constant = np.ptp(action, axis=0) == 0
    assert constant.any()
    assert not constant.all()
    assert (np.ptp(first.edges, axis=1)[constant] == 1).all()
    before = episodes.opened
    again = statistics([toy_set(episodes)], tmp_path)
    assert episodes.opened == before
    assert json.dumps(again.section()) == json.dumps(first.section())
    statistics([toy_set(episodes, adapter=toy_adapter(rate=5.0))], tmp_path)
    assert episodes.opened == before + 3  # another adapter is measured anew


def test_each_set_of_a_mixture_has_its_own_units(tmp_path: Path) -> None:
    use = DataConfig(batch_size=40, held_out=0.0, augmentation=None)
    roots = ("30,31", "80,80,80")
    plain, scaled = reader(*roots, use=use), reader(*roots, use=use)
    units = [statistics([data], tmp_path).normalisation for data in scaled.sets]
    for data, unit in zip(scaled.sets, units, strict=True):
        data.learn(None, unit)
    raw, found = plain(0).batch, scaled(0).batch
    assert torch.equal(raw.frame, found.frame)
    assert not np.allclose(units[0].high, units[1].high)
    of = np.asarray([slot.number for slot in plain._order(0)])
    assert set(of) == {0, 1}
    for number, unit in enumerate(units):
        mine = of == number
        np.testing.assert_allclose(
            found.state[mine], unit.state(raw.state[mine].numpy()), atol=1e-6
        )
        valid = raw.action_valid[mine]
        expected = unit.action(raw.action[mine].numpy())
        np.testing.assert_allclose(found.action[mine][valid], expected[valid], atol=1e-5)
        assert np.abs(found.action[mine][valid][:, 1]).max() < 1.1


def test_half_a_file_of_statistics_is_made_again(tmp_path: Path) -> None:
    data = toy_set(ToyEpisodes((30, 40)))
    whole = statistics([data], tmp_path)
    path = next(tmp_path.glob("statistics-*.json"))
    path.write_text(path.read_text()[:100])
    assert statistics([data], tmp_path).section() == whole.section()


def test_statistics_stop_at_damage_or_list_it() -> None:
    data = toy_set(ToyEpisodes((30, 40), damaged=(1,)))
    with pytest.raises(DamagedRecord):
        measure([data], skip_damaged=False)
    assert measure([data], skip_damaged=True).damaged == ["toy record 1 is damaged."]


def test_sets_with_one_adapter_have_their_units_in_common(tmp_path: Path) -> None:
    sets = [toy_set(ToyEpisodes(lengths)) for lengths in ((30, 31), (80, 80, 80))]
    other = toy_set(ToyEpisodes((20,)), adapter=toy_adapter(rate=5.0))
    assert alike([sets[0], other, sets[1]]) == [[0, 2], [1]]
    together = statistics(sets, tmp_path)
    assert len(together.sentences) == together.instructions > 0
    assert together.steps == sum(statistics([data], tmp_path).steps for data in sets)
    actions = [data.canonical(n).action for data in sets for n in range(len(data.lengths))]
    low = np.quantile(np.concatenate(actions)[:, :6], 0.01, axis=0)
    np.testing.assert_allclose(together.normalisation.low, low, atol=6e-5)
    assert len(list(tmp_path.glob("statistics-*.json"))) == 3
