"""The lists of SIMPLER's scripts and of the paper: how many, which, in which order."""

import subprocess
import sys
from collections import Counter
from typing import Any, cast

import pytest

from envs.episode import Episode
from experiment.settings import ROOT
from policies.evaluation.protocol import ALL, Protocol, episodes
from policies.evaluation.published import CANS, CLOSE_DRAWERS, LISTS, OPEN_DRAWERS, WIDOWX


def listed(protocol: str, task: str = ALL) -> list[Episode]:
    return episodes(Protocol(protocol), task)


def described(episode: Episode) -> tuple[str, int, str, dict[str, Any]]:
    return episode.task, episode.index, episode.variant, episode.reset_options()


def rounded(episode: Episode) -> dict[str, Any]:
    """Return the options without the last bits of the grids' numbers."""
    return {
        name: tuple(round(number, 9) for number in value) if isinstance(value, tuple) else value
        for name, value in episode.reset_options().items()
    }


def test_visual_matching_has_the_scripts_counts() -> None:
    chosen = listed("visual_matching")
    expected = dict.fromkeys(CANS, 25 * 4) | {"move_near_v0": 60 * 4}
    expected |= dict.fromkeys((*OPEN_DRAWERS, *CLOSE_DRAWERS), 9 * 4)
    expected |= {"open_and_place": 3 * 9 * 4} | dict.fromkeys(WIDOWX, 24)
    assert Counter(e.task for e in chosen) == expected
    assert {e.variant for e in chosen} == {"visual_matching"}


def test_visual_matching_unrolls_the_loops_as_the_scripts_do() -> None:
    horizontal = listed("visual_matching", "pick_horizontal_coke_can")
    found = described(horizontal[26])
    assert found[:3] == ("pick_horizontal_coke_can", 26, "visual_matching")
    assert found[3]["coloring"] == "recolor_tabletop_visual_matching_1"
    assert found[3]["object_xy"] == pytest.approx((-0.35, 0.09))
    assert horizontal[-1].object_xy == pytest.approx((-0.12, 0.42))

    near = listed("visual_matching", "move_near")
    assert described(near[60]) == (
        "move_near_v0", 60, "visual_matching",
        {"coloring": "recolor_tabletop_visual_matching_1", "layout": 0},
    )  # fmt: skip

    # The drawers' scripts begin with another colouring.
    bottom = listed("visual_matching", "close_bottom_drawer")
    assert described(bottom[5])[3] == {
        "coloring": "recolor_cabinet_visual_matching_1", "robot_pose": "b2",
    }  # fmt: skip
    assert bottom[-1].coloring == ""
    assert [e.robot_pose for e in bottom[:9]] == [
        "a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2",
    ]  # fmt: skip

    place = listed("visual_matching", "open_and_place")
    assert rounded(place[10]) == {
        "coloring": "recolor_cabinet_visual_matching_1",
        "robot_pose": "b0",
        "object": "baked_apple_v2",
        "object_xy": (-0.08, 0.03),
    }
    assert [e.layout for e in listed("visual_matching", "stack_cube")] == list(range(24))


def test_variant_aggregation_has_the_scripts_counts() -> None:
    chosen = listed("variant_aggregation")
    expected = dict.fromkeys(CANS, 25 * 11) | {"move_near": 60 * 10}
    expected |= dict.fromkeys((*OPEN_DRAWERS, *CLOSE_DRAWERS), 9 * 7)
    expected |= {"open_and_place": 3 * 9 * 7}
    assert Counter(e.task for e in chosen) == expected
    assert not any(e.coloring for e in chosen)


def test_variant_aggregation_has_the_scripts_variants() -> None:
    def variants(task: str) -> list[str]:
        return list(dict.fromkeys(e.variant for e in listed("variant_aggregation", task)))

    assert variants("pick_coke_can") == [
        "base", "table_1", "table_2", "distractors_less", "distractors_more",
        "background_1", "background_2", "lighting_darker", "lighting_brighter",
        "camera_1", "camera_2",
    ]  # fmt: skip
    assert variants("move_near") == [
        "base", "no_distractors", "background_1", "background_2", "lighting_darker",
        "lighting_brighter", "table_1", "table_2", "camera_1", "camera_2",
    ]  # fmt: skip
    cabinet = [
        "base", "background_1", "background_2", "lighting_brighter", "lighting_darker",
        "cabinet_1", "cabinet_2",
    ]  # fmt: skip
    assert variants("open_top_drawer") == variants("open_and_place") == cabinet


def test_variant_aggregation_places_the_robot_on_a_grid() -> None:
    top = listed("variant_aggregation", "open_top_drawer")
    assert rounded(top[5]) == {"robot_xy": (0.75, 0.2), "robot_yaw": 0.0}
    assert {e.robot_pose for e in top} == {None}
    place = listed("variant_aggregation", "open_and_place")
    assert rounded(place[9]) == {
        "robot_xy": (0.65, 0.0), "robot_yaw": 0.0, "object": "apple", "object_xy": (-0.08, -0.02),
    }  # fmt: skip


def test_the_papers_list_has_its_counts_twice() -> None:
    chosen = listed("self_flow_paper")
    assert len(chosen) == 100
    first = chosen[:50]
    counts = Counter(e.task for e in first)
    assert sum(counts[can] for can in CANS) == 15
    assert sum(counts[drawer] for drawer in (*OPEN_DRAWERS, *CLOSE_DRAWERS)) == 18
    assert (counts["move_near_v0"], counts["open_and_place"]) == (10, 7)
    assert [e.reset_options() for e in chosen[50:]] == [e.reset_options() for e in first]
    assert not {e.seed for e in first} & {e.seed for e in chosen[50:]}


def test_the_papers_list_is_spread_over_visual_matching() -> None:
    def key(episode: Episode) -> tuple[str, str]:
        return episode.task, repr(sorted(episode.reset_options().items()))

    first = listed("self_flow_paper")[:50]
    assert {key(e) for e in first} <= {key(e) for e in listed("visual_matching")}
    assert len({key(e) for e in first}) == 50
    for can in CANS:
        places = [cast(tuple[float, float], e.object_xy) for e in first if e.task == can]
        assert len({x for x, _ in places}) == len({y for _, y in places}) == 5
    for drawers in (OPEN_DRAWERS, CLOSE_DRAWERS):
        assert Counter(e.task for e in first if e.task in drawers) == dict.fromkeys(drawers, 3)
        assert len({e.robot_pose for e in first if e.task in drawers}) == 9


@pytest.mark.parametrize("protocol", LISTS)
def test_no_two_episodes_share_name_or_seed(protocol: str) -> None:
    chosen = listed(protocol)
    assert len({(e.task, e.index) for e in chosen}) == len(chosen)
    assert len({e.seed for e in chosen}) == len(chosen)


def test_tasks_variants_and_options_are_the_simulators() -> None:
    """Every name in the lists is one that the environment knows."""
    from envs.simpler.tasks.registry import task_spec
    from envs.simpler.tasks.start import checked_options
    from envs.simpler.tasks.variants import variant_of

    for protocol in LISTS:
        for episode in listed(protocol):
            spec = task_spec(episode.task)
            assert spec.name == episode.task
            variant_of(spec, episode.variant)
            assert checked_options(episode.reset_options(), spec) == episode.reset_options()


def test_the_list_is_printed_without_a_simulator() -> None:
    program = (
        "import sys\n"
        "for name in ('sapien', 'mani_skill', 'envs.simpler'):\n"
        "    sys.modules[name] = None\n"
        "sys.argv = ['eval', 'protocol=visual_matching', 'task=open_drawer', '--list']\n"
        "from policies.eval import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].split() == [
        "open_top_drawer", "0", str(listed("visual_matching", "open_top_drawer")[0].seed),
        "visual_matching", "robot_pose=a0", "coloring=recolor_cabinet_visual_matching_1",
    ]  # fmt: skip
    assert len(lines) == 1 + 108 + 1 + 3 + 1
    assert lines[-1].endswith("108 episodes of protocol visual_matching")
