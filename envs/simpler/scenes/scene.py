"""What all SIMPLER scenes do: resets, objects brought to rest, control steps, the picture.

Everything is batched: `(b, ...)` with one environment on the CPU, any number on a GPU.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mani_skill.utils.structs import Actor, Pose
from numpy.typing import NDArray
from torch import Tensor

from envs.simpler.assets.rests import Rest
from envs.simpler.robots.camera import CAMERA
from envs.simpler.scenes.body_contacts import BodyContacts
from envs.simpler.scenes.built_scene import PARKED, BuiltScene
from envs.simpler.scenes.contact_queries import ContactQueries, closes_on
from envs.simpler.scenes.contacts import Contacts
from envs.simpler.scenes.settling import Fall
from envs.simpler.tasks.start import keeping


class SimplerScene(BuiltScene):
    """A scene of one of the five families of tasks, which subclass it.

    A family implements `rule_state` and `instruction`, and may set its furniture.
    """

    always_drop = False
    """Whether to let objects fall even where their rest is known."""
    _is_after_step = False

    def rule_state(self, contacts: ContactQueries) -> Any:
        """Read what the task's rule needs from the simulator, after a control step."""
        raise NotImplementedError

    def instruction(self, number: int) -> str:
        """The instruction of the current subtask in environment `number`."""
        raise NotImplementedError

    def _place_furniture(self) -> None:
        """Put the furniture where it starts, before the objects are dropped."""

    def _set_furniture(self, env_idx: Tensor) -> None:
        """Bring the furniture into the state it starts in, after the objects have settled."""

    def reset(
        self, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset; `options` as in `tasks.start.NAMED_OPTIONS`, and `env_idx` for some on a GPU.

        On the CPU the scene is rebuilt every time: only then is a reset bitwise repeatable. On a
        GPU it is built once, so objects and colouring stay what they were first drawn to be.
        """
        options = dict(options or {})
        rebuild = bool(options.pop("reconfigure", False)) or not self.on_gpu
        index = options.pop("env_idx", None)
        chosen = list(range(len(self.starts))) if index is None else [int(i) for i in index]
        seeds = self._seeds(seed, len(chosen))
        for number, episode_seed in zip(chosen, seeds, strict=True):
            start = self._draw(episode_seed, options)
            if not rebuild:
                start = self._draw(
                    episode_seed, options | keeping(self.task, start, self.starts[number])
                )
            self.starts[number] = start
        self.rule.reset(torch.tensor(chosen, device=self.rule.device))
        for number in chosen:
            self.photographs.lay(number, self.starts[number].photograph)
        if rebuild:
            return super().reset(seed=seeds, options={"reconfigure": True})
        env_idx = torch.tensor(chosen, device=self.device)
        return super().reset(seed=seeds, options={"env_idx": env_idx})

    def _seeds(self, seed: int | list[int] | None, count: int) -> list[int]:
        """A seed for each of `count` environments."""
        if seed is None:
            seed = int(self._main_rng.randint(2**32))
        if isinstance(seed, int) or np.ndim(seed) == 0:
            first = int(seed)  # type: ignore[arg-type]
            more = np.random.RandomState(first).randint(2**31, size=count - 1)
            return [first, *map(int, more)]
        return [int(each) for each in seed]

    def _initialize_episode(self, env_idx: Tensor, options: dict[str, Any]) -> None:  # noqa: ARG002
        robot = self.agent.robot
        if not self.on_gpu:
            robot.set_pose(PARKED)  # out of the way of what falls
        self._place_furniture()
        self._settle_objects(env_idx)
        # Active joints come breadth-first in SAPIEN 3, so they are set by name.
        qpos = self.robot_kind.qpos | self._head()
        row = [qpos.get(name, 0.0) for name in self.robot_joint_names]
        robot.set_qpos(torch.tensor([row] * len(env_idx), device=self.device))
        robot.set_qvel(torch.zeros(len(env_idx), len(row), device=self.device))
        height = self.robot_kind.base_height
        poses = [self.starts[int(i)].base_pose(height) for i in env_idx]
        robot.set_pose(self._poses([np.concatenate(pose) for pose in poses]))
        self._set_furniture(env_idx)

    def _head(self) -> dict[str, float]:
        tilt = self.variant.head_tilt
        return {} if tilt is None else {"joint_head_tilt": tilt}

    def _poses(self, rows: Sequence[Any]) -> Pose:
        """Poses from rows of position (m) and quaternion."""
        return Pose.create(torch.as_tensor(np.array(rows), dtype=torch.float32, device=self.device))

    def _rests(self, number: int) -> list[Rest] | None:
        """Where the objects of environment `number` rest, None where they must be dropped.

        A drop onto a flat table ends the same wherever it happens, so its end is taken from a table
        where it is known: measured in the original for the official meshes (PhysX 5 would end it
        elsewhere), in this simulator for primitives.
        """
        if self.always_drop or self.simulation_frequency != self.task.simulation_frequency:
            return None
        return self.pack.rests(self.task, self.starts[number].layout, self.variant.stage)

    def _settle_objects(self, env_idx: Tensor) -> None:
        if not self.objects:
            return
        rests = [self._rests(int(i)) for i in env_idx]
        complete = [rest for rest in rests if rest is not None]
        if len(complete) == len(rests):
            still = torch.zeros(len(env_idx), 3, device=self.device)
            for slot, item in enumerate(self.objects):
                item.set_pose(self._poses([rest[slot] for rest in complete]))
                item.set_linear_velocity(still)
                item.set_angular_velocity(still)
        elif self.on_gpu:
            raise RuntimeError(
                f"where the objects of {self.task.name} rest is not known; "
                "a GPU simulation cannot let them fall while other environments wait."
            )
        else:
            self._drop_objects(Fall(self.scene.px, self.simulation_frequency))
        # Where the objects lie `(b, o, 3)`, m: what rules compare with.
        now = torch.stack([item.pose.p for item in self.objects], 1)
        if len(env_idx) == len(self.starts):
            self.settled = now.clone()
        else:
            self.settled[env_idx] = now[env_idx]

    def _drop_objects(self, fall: Fall) -> None:
        """Let all objects fall together; on the CPU only."""
        bodies = [item._bodies[0] for item in self.objects]
        fall.drop(bodies, self.start.layout.positions, self.start.layout.quaternions)

    def step(self, action: Any) -> Any:
        self.rule.before_step()
        self._is_after_step = True
        return super().step(action)

    def advance_to_next_subtask(self) -> None:
        """Say that the current subtask is done: the instruction changes where there is another."""
        self.rule.advance()

    def evaluate(self) -> dict[str, Tensor]:
        """SIMPLER's rule after a control step (not at a reset), as ManiSkill wants it."""
        if self._is_after_step:
            self._is_after_step = False
            self.rule.update(self.rule_state(self._contacts()))
        return {"success": self.rule.success.clone()}

    def grasped(self, item: Actor, contacts: ContactQueries) -> Tensor:
        """Whether the fingers close on `item` `(b,)`."""
        robot = self.robot_kind
        return closes_on(contacts, item, self.fingers, robot.opens, robot.grasp_angle)

    def source_grasped(self, number: int) -> bool | None:
        """Whether the fingers close on what is moved in environment `number`, None if nothing is.

        On a GPU also None: its contacts are read for the rules alone.
        """
        source = self.starts[number].layout.source
        if source is None or self.on_gpu:
            return None
        return bool(self.grasped(self.objects[source], self._contacts())[number])

    def _contacts(self) -> ContactQueries:
        if self.on_gpu:
            return BodyContacts(self.scene)
        return Contacts(self.scene.px.get_contacts())

    def head_image(self, observation: dict[str, Any], number: int = 0) -> NDArray[np.uint8]:
        """The camera's picture uint8 (h, w, 3), the photograph laid behind it."""
        data = observation["sensor_data"][CAMERA]
        image = data["rgb"][number].cpu().numpy()
        overlay = self.photographs.overlays[number]
        if overlay is None:
            return image
        segmentation = data["segmentation"][number, ..., 0].cpu().numpy()
        return overlay.apply(image, segmentation, self._foreground(number))

    def _foreground(self, number: int) -> list[int]:
        entities = [item._objs[number] for item in self._shown_objects()]
        links = (*self.links, *self._furniture_links())
        entities += [link._objs[number].entity for link in links]
        return [entity.per_scene_id for entity in entities]

    def _shown_objects(self) -> list[Actor]:
        """Objects that the photograph does not cover."""
        return self.objects

    def _furniture_links(self) -> list[Any]:
        return []
