"""Statistics: measured once in a stream, kept, used as units."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.worldmodel.toy_episodes import ToyEpisodes, toy_adapter
from tests.worldmodel.toy_streams import reader
from worldmodel.data.batches import DataConfig
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.picture_memory import Memory
from worldmodel.data.source import AdaptedSet
from worldmodel.data.statistics import measure, statistics


def test_statistics_are_measured_once_and_kept(tmp_path: Path) -> None:
    episodes = ToyEpisodes((30, 40, 50))
    data = AdaptedSet(episodes, toy_adapter())
    data.keep(1, Memory(0))
    first = statistics(data, tmp_path)
    assert (first.episodes, first.steps) == (3, 120)
    action = np.concatenate([data.track(n).action for n in range(3)])
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
    again = statistics(AdaptedSet(episodes, toy_adapter()), tmp_path)
    assert episodes.opened == before
    assert json.dumps(again.section()) == json.dumps(first.section())
    statistics(AdaptedSet(episodes, toy_adapter(rate=5.0)), tmp_path)
    assert episodes.opened == before + 3  # another adapter is measured anew


def test_each_set_of_a_mixture_has_its_own_units(tmp_path: Path) -> None:
    use = DataConfig(batch_size=40, held_out=0.0, augmentation=None)
    roots = ("30,31", "80,80,80")
    plain, scaled = (
        reader(*roots, use=use, cache=str(tmp_path), normalise=n) for n in (False, True)
    )
    raw, found = plain(0).windows, scaled(0).windows
    assert np.array_equal(raw.frame, found.frame)
    units = [facts.normalisation for facts in plain.statistics()]
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
    data = AdaptedSet(ToyEpisodes((30, 40)), toy_adapter())
    whole = statistics(data, tmp_path)
    path = next(tmp_path.glob("statistics-*.json"))
    path.write_text(path.read_text()[:100])
    assert statistics(data, tmp_path).section() == whole.section()


def test_statistics_stop_at_damage_or_list_it() -> None:
    data = AdaptedSet(ToyEpisodes((30, 40), damaged=(1,)), toy_adapter())
    with pytest.raises(DamagedRecord):
        measure(data, skip_damaged=False)
    assert measure(data, skip_damaged=True).damaged == ["toy record 1 is damaged."]
