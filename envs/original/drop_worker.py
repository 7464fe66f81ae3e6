"""Let objects fall in SAPIEN 2 and print where they come to rest; imports nothing of this package.

Run by `envs.original.rests` with an interpreter that has sapien 2.2. Reads a JSON list of jobs from
stdin and writes a JSON list of results, `[[x, y, z, qw, qx, qy, qz], ...]` per job, to stdout.
Drop and scene settings follow SimplerEnv's resets: rotations about x and y locked for half a
second, half a second free, one and a half more if anything still moves.
"""

import json
import sys
from typing import Any

import numpy as np
import sapien.core as sapien


def scene_for(engine: Any, job: dict[str, Any]) -> Any:
    config = sapien.SceneConfig()
    config.default_static_friction = config.default_dynamic_friction = 1.0
    config.default_restitution = 0.0
    config.contact_offset = job["contact_offset"]
    config.enable_pcm, config.enable_tgs = False, True
    config.solver_iterations, config.solver_velocity_iterations = 25, 1
    scene = engine.create_scene(config)
    scene.set_timestep(1.0 / job["frequency"])
    if job["box"]:
        builder = scene.create_actor_builder()
        local, half, at = job["box"]
        builder.add_box_collision(pose=sapien.Pose(local), half_size=half)
        builder.build_static("arena").set_pose(sapien.Pose(at))
    if job["cabinet"]:
        loader = scene.create_urdf_loader()
        loader.fix_root_link = True
        loader.load(job["cabinet"]).set_pose(sapien.Pose([-0.295, 0, 0.017]))
    return scene


def body(scene: Any, mesh: str, density: float) -> Any:
    builder = scene.create_actor_builder()
    material = scene.create_physical_material(0.5, 0.5, 0.0)
    builder.add_multiple_collisions_from_file(mesh, material=material, density=density)
    actor = builder.build()
    actor.set_damping(0.1, 0.1)
    return actor


def run(engine: Any, job: dict[str, Any]) -> list[list[float]]:
    scene = scene_for(engine, job)

    def settle(seconds: float) -> None:
        for _ in range(int(job["frequency"] * seconds)):
            scene.step()

    objects = [body(scene, o["mesh"], o["density"]) for o in job["objects"]]
    if job["fixed"]:
        fixed = body(scene, job["fixed"]["mesh"], job["fixed"]["density"])
        fixed.set_damping(0.0, 0.0)
        fixed.set_pose(sapien.Pose(job["fixed"]["position"]))
        fixed.lock_motion()
    for actor, item in zip(objects, job["objects"], strict=True):
        actor.set_pose(sapien.Pose([*item["xy"], job["height"]], item["quaternion"]))
        actor.lock_motion(0, 0, 0, 1, 1, 0)
    settle(0.5)
    for actor in objects:
        actor.lock_motion(0, 0, 0, 0, 0, 0)
        actor.set_pose(actor.pose)
        actor.set_velocity(np.zeros(3))
        actor.set_angular_velocity(np.zeros(3))
    settle(0.5)
    speed = sum(np.linalg.norm(actor.velocity) for actor in objects)
    spin = sum(np.linalg.norm(actor.angular_velocity) for actor in objects)
    if speed > 1e-3 or spin > 1e-2:
        settle(1.5)
    return [[float(v) for v in (*actor.pose.p, *actor.pose.q)] for actor in objects]


def main() -> None:
    engine = sapien.Engine()
    results = []
    jobs = json.load(sys.stdin)
    for number, job in enumerate(jobs):
        results.append(run(engine, job))
        print(f"{number + 1}/{len(jobs)}", end="\r", file=sys.stderr, flush=True)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
