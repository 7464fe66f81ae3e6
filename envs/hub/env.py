"""The file that lerobot's EnvHub loads: put it at the top of a repository on the hub.

    from lerobot.envs.factory import make_env
    suites = make_env("USER/REPOSITORY", n_envs=2, use_async_envs=True, trust_remote_code=True)

The machine that loads it has this package installed. All that can be set is in
`envs.hub.lerobot_env.make_env`.
"""

from envs.hub.lerobot_env import make_env

__all__ = ["make_env"]
