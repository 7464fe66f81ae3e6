"""Training in several processes, as `torchrun` starts them: who they are and what they agree on.

Beside the `rank` and `world` of readers nothing else knows of them. Each process has its rows of
every batch; DDP gives each the whole model, FSDP2 a shard of every weight, gradient, moment and
average. Models and losses are written for one device.
"""

import contextlib
import copy
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils import _pytree

from experiment.errors import UserError
from worldmodel.cost import STATE_BYTES
from worldmodel.model import Output
from worldmodel.transformer import Transformer

Parallel = Literal["auto", "ddp", "fsdp"]
"""How a model is spread over processes; `auto` shards it where it would fill half of a GPU."""

T = TypeVar("T")
# The first process draws samples and writes pictures while the others wait for it.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; alone, all that it agrees on is its own."""

    rank: int = 0
    world: int = 1
    background: Any = None
    """A group of its own for what goes on beside training, such as writing a state."""

    @property
    def first(self) -> bool:
        """Whether this process writes files and logs for all."""
        return self.rank == 0

    def named(self, file: str) -> str:
        """Return the name of a file that each process has one of; the first one's is `file`."""
        stem, dot, ending = file.rpartition(".")
        return file if self.first else f"{stem}.{self.rank}{dot}{ending}"

    def agreed(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is raised in any process."""
        if self.world == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return tuple(bool(flag) for flag in raised.tolist())

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes of a tensor that all have, on the CPU."""
        values = values.cpu()
        if self.world > 1:
            dist.all_reduce(values)
            values /= self.world
        return values

    def texts(self, text: str) -> list[str]:
        """Return what each process gave, by rank."""
        if self.world == 1:
            return [text]
        data = text.encode()
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        dist.all_gather(sizes, torch.tensor([len(data)]))
        longest = max(max(int(size) for size in sizes), 1)
        own = torch.zeros(longest, dtype=torch.uint8)
        own[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else own[:0]
        gathered = [torch.zeros_like(own) for _ in range(self.world)]
        dist.all_gather(gathered, own)
        pairs = zip(gathered, sizes, strict=True)
        return [bytes(each[: int(size)].tolist()).decode() for each, size in pairs]

    def together(self, action: Callable[[], T]) -> T:
        """Return what `action` does in this process; a `UserError` in one is raised in all."""
        result: Any = None
        failure: UserError | None = None
        try:
            result = action()
        except UserError as error:
            failure = error
        if not any(self.agreed(failure is not None)):
            return result
        texts = self.texts("" if failure is None else str(failure))
        raise failure or UserError(next(text for text in texts if text))

    def from_first(self, action: Callable[[], str]) -> str:
        """Return to all what the first process makes, or raise what it raises."""
        text = self.together(lambda: action() if self.first else "")
        return self.texts(text)[0]

    def first_before_others(self, action: Callable[[], T]) -> T:
        """Let the first process act, and the others once it has: they find what it made."""
        made = self.together(lambda: action() if self.first else None)
        rest = self.together(lambda: None if self.first else action())
        return made if self.first else rest  # type: ignore[return-value]


_ranks = Ranks()


def ranks() -> Ranks:
    """Return what `joined` found, or a process that is alone."""
    return _ranks


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the processes that `torchrun` started for the time of the block; none: do nothing.

    One process speaks for all: the first one prints and says how to resume, and whichever is
    the first to meet an error says so while the others end silently with the same code.
    """
    global _ranks
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or dist.is_initialized():
        yield
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store, rank, world = next(iter(dist.rendezvous("env://")))
    backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_PATIENCE)
    background = dist.new_group(backend="gloo", timeout=_PATIENCE)
    _ranks = Ranks(rank, world, background)
    spoken = dist.PrefixStore("spoken", store)
    with contextlib.ExitStack() as stack:
        if rank:
            silence = stack.enter_context(open(os.devnull, "w"))  # noqa: PTH123
            stack.enter_context(contextlib.redirect_stdout(silence))
        try:
            yield
            dist.destroy_process_group()
        except KeyboardInterrupt:
            if rank:
                sys.exit(130)
            raise
        except (UserError, OSError, MemoryError, RuntimeError) as error:
            lost = isinstance(error, RuntimeError) and "Connection" in str(error)
            if not _first_to_speak(spoken):
                sys.exit(2)
            if lost:
                raise UserError(
                    "another process of this run has ended or cannot be reached: see what it "
                    "said, and start the same command again."
                ) from error
            raise
        finally:
            _ranks = Ranks()


def _first_to_speak(spoken: dist.Store) -> bool:
    try:
        return bool(spoken.add("count", 1) == 1)
    except RuntimeError:
        return True  # whoever keeps the count is gone


class Replicated(DistributedDataParallel):
    """DDP that a loss can ask what it asks of the model."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def spread(
    model: nn.Module, average: nn.Module, how: str, device: torch.device
) -> tuple[nn.Module, nn.Module | None]:
    """Spread a model and its average over the processes, in place.

    Returns the model as a loss is to call it, and for a sharded average a whole copy, in the first
    process, that `gathered` fills.
    """
    if _ranks.world == 1:
        return model, None
    if how == "auto":
        size = STATE_BYTES * sum(p.numel() for p in model.parameters())
        gpu = device.type == "cuda"
        room = torch.cuda.get_device_properties(device).total_memory if gpu else math.inf
        how = "fsdp" if size > room / 2 else "ddp"
    if how == "ddp":
        # A modality that is left out of a batch leaves layers without gradients, in all processes.
        warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
        return Replicated(model, find_unused_parameters=True, broadcast_buffers=False), None
    whole = copy.deepcopy(average) if _ranks.first else None
    if Output not in _pytree.SUPPORTED_NODES:
        # Sharding looks for the tensors that a model returns.
        _pytree.register_dataclass(Output)
    mesh = init_device_mesh(device.type, (_ranks.world,))
    # No tensor that the model returns is changed in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
    for each in (model, average):
        for trunk in [module for module in each.modules() if isinstance(module, Transformer)]:
            for block in trunk.blocks:
                fully_shard(block, mesh=mesh)
        # The average has no backward pass that would shard it again.
        fully_shard(each, mesh=mesh, reshard_after_forward=each is average or None)
    return model, whole


@contextlib.contextmanager
def accumulating(model: nn.Module, last: bool) -> Iterator[None]:
    """Add up gradients within the process until the `last` of several passes."""
    if isinstance(model, DistributedDataParallel) and not last:
        with model.no_sync():
            yield
        return
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
    yield


def clip(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """Scale the gradients to a norm of at most `limit` over all processes; return the norm."""
    norm = whole_tensor(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm


def whole_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor as one process would have it; to be called in all."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def gathered(average: nn.Module, whole: nn.Module | None) -> None:
    """Fill `whole`, which only the first process has, from a sharded model; to be called in all."""
    own = {} if whole is None else whole.state_dict()
    for name, tensor in average.state_dict().items():
        complete = whole_tensor(tensor)
        if whole is not None:
            own[name].copy_(complete)
