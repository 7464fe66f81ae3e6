"""Entry point: serve a policy to openpi's and vla-eval's clients.

    python -m policies.serve                                       the shipped checkpoint
    python -m policies.serve checkpoint=runs/finetune port=8000
    python -m policies.serve policy=my_module.MyPolicy host=0.0.0.0

See docs/serving.md. Needs the packages of the extra `serve`; Ctrl-C ends it.
"""

import asyncio
import functools

from omegaconf import DictConfig

from experiment.command import command
from experiment.settings import plain
from policies.serving.extra import require_packages


@command("serve", __doc__)
def main(config: DictConfig) -> None:
    require_packages()
    from policies.serving.batcher import Batcher
    from policies.serving.server import PolicyServer
    from policies.serving.settings import ServeSettings

    settings = ServeSettings.of(plain(config))
    say = functools.partial(print, flush=True)
    batcher = Batcher(settings.description(), settings.limits.batch)
    server = PolicyServer(batcher, settings.limits, settings.keys, settings.with_state, say)

    def ready(port: int) -> None:
        url = settings.address.url("ws", port)
        say(f"policy '{batcher.name}' is served at {url} (Ctrl-C ends it)")

    asyncio.run(server.run(settings.address, ready))


run = main.run


if __name__ == "__main__":
    main()
