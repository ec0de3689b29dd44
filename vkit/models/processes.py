"""Several processes that share work: who this one is, what they exchange, how an error ends them all.

    processes = join()                              # of torchrun or accelerate launch; one where neither is
    model = load_model("tiny", device=processes.own_device("auto"))
    with processes.together():                      # an error in one ends all of them, and one tells it
        for number in processes.share(len(batches)):
            ...                                     # each batch comes to one process, the first that is free

    torchrun --nproc-per-node 8 -m vkit generate ...
    accelerate launch --num_processes 8 -m vkit attn-ratio ...

Each process has the whole model, and a GPU of its own where there are some. They exchange little, and not by
their GPUs: objects go by gloo, and who takes which batch is counted in the store that the launcher keeps.
Processes that train one model are `vkit.train.distributed`'s, which are these and more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

from vkit.errors import VkitError
from vkit.models.launcher import Launch, launched

Value = TypeVar("Value")
Item = TypeVar("Item")

PATIENCE = timedelta(days=7)
_POLL_SECONDS = 0.1


class ToldElsewhere(VkitError):
    """An error that another process tells people; this one only ends."""


class Processes:
    """One process by itself, and what several have in common with it.

    rank: this process's number. size: how many there are.
    """

    rank, size = 0, 1

    @property
    def is_main(self) -> bool:
        """Whether this process talks to people and writes what all have done."""
        return self.rank == 0

    def own_device(self, name: str, device_map: str | None = None) -> str:
        """The device of this process where people said ``name``, as `load_model` takes it.

        Raises:
            VkitError: there are more processes than GPUs, or the device cannot serve several of them;
                ``device_map`` would give each process all GPUs.
        """
        return name

    def gather(self, value: Value) -> list[Value]:
        """The value of each process, by rank; values are pickled."""
        return [value]

    def ask_main(self, function: Callable[[], Value]) -> Value:
        """What ``function`` returns in the main process, pickled for the others, which wait for it.

        Raises:
            VkitError: in each process, where the main one raised.
        """
        return function()

    def on_main(self, function: Callable[[], Value]) -> Value | None:
        """What ``function`` returns in the main process, None in the others; otherwise as `ask_main`."""
        return function()

    def fail_together(self, error: Exception | None) -> None:
        """Raise in every process where one of them has an error: there its own, elsewhere `ToldElsewhere`."""
        if error is not None:
            raise error

    def map(
        self,
        function: Callable[[Item], Value],
        items: Sequence[Item],
        on_done: Callable[[], object] = lambda: None,
    ) -> list[Value]:
        """``function`` of every item, each computed by one process and pickled for the others.

        on_done: called once for each item, in the main process, roughly when it is done.

        Raises:
            Exception: the error of the first item that has one, in the process that met it; in the others
                `ToldElsewhere`.
        """
        found = []
        for item in items:
            found.append(function(item))
            on_done()
        return found

    def share(self, count: int) -> Iterator[int]:
        """Numbers below ``count``, each in one process only: the next one goes to whoever asks first.

        Raises:
            ToldElsewhere: another process has failed.
        """
        return iter(range(count))

    def wait(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Until every process waits here; ``meanwhile`` is called again and again.

        Raises:
            ToldElsewhere: another process has failed.
        """

    def together(self) -> AbstractContextManager[None]:
        """An error inside ends every process, and one of them raises it as it is.

        The others raise `ToldElsewhere` with its text: between two items of `share`, or when an exchange with
        the failed process breaks off; where the exchange is a GPU's, it is the launcher that ends them.
        """
        return nullcontext()

    def leave(self) -> None:
        """Say goodbye to the other processes, at the end of the program."""


ALONE = Processes()


def join() -> Processes:
    """The processes that torchrun or ``accelerate launch`` started; one where they started none.

    Raises:
        VkitError: they cannot find each other.

    >>> join().size
    1
    """
    told = launched()
    if told is None or told.size == 1:
        return ALONE
    import torch.distributed as dist

    try:
        store, _, _ = next(dist.rendezvous("env://"))
        # The others may wait for days while one works on its last batch.
        dist.init_process_group("gloo", store=store, rank=told.rank, world_size=told.size, timeout=PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise VkitError(
            f"the processes cannot find each other ({' '.join(str(error).split())[:200]}); start them by"
            " torchrun or accelerate launch"
        ) from error
    return Launched(told, store)


class Launched(Processes):
    """One of several processes.

    told: its place. store: what the launcher keeps for all of them. group: the one that exchanges objects, of
        gloo; None: the one that the processes began with.
    """

    def __init__(self, told: Launch, store: Any, group: Any = None) -> None:
        import torch.distributed as dist

        self.told, self.rank, self.size = told, told.rank, told.size
        self._group = group
        self._store = dist.PrefixStore("vkit", store)
        self._shares = 0

    def own_device(self, name: str, device_map: str | None = None) -> str:
        import torch

        if device_map is not None:
            raise VkitError(
                f"--device-map {device_map} spreads one model over all GPUs, and {self.size} processes would"
                " each do so; leave it out, or start one process"
            )
        own = self.told.own_device(name)
        if own != "cpu":
            torch.cuda.set_device(self.told.local_rank)
        return own

    def gather(self, value: Value) -> list[Value]:
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self._group)
        return found

    def ask_main(self, function: Callable[[], Value]) -> Value:
        import torch.distributed as dist

        held: list[Any] = [None, None]  # the value, and the text of an error
        error = None
        if self.is_main:
            try:
                held[0] = function()
            except Exception as caught:
                error, held[1] = caught, _text(caught)
        dist.broadcast_object_list(held, src=0, group=self._group)
        if error is not None:
            raise error
        if held[1] is not None:
            raise ToldElsewhere(held[1])
        return held[0]

    def on_main(self, function: Callable[[], Value]) -> Value | None:
        found: list[Value] = []
        self.ask_main(lambda: found.append(function()))
        return found[0] if found else None

    def fail_together(self, error: Exception | None) -> None:
        told = [text for text in self.gather(None if error is None else _text(error)) if text is not None]
        if error is not None:
            raise error
        if told:
            raise ToldElsewhere(told[0])

    def map(
        self,
        function: Callable[[Item], Value],
        items: Sequence[Item],
        on_done: Callable[[], object] = lambda: None,
    ) -> list[Value]:
        own: list[Value] = []
        error = None
        for first in range(0, len(items), self.size):  # a round: an item for each process
            if first + self.rank < len(items):
                try:
                    own.append(function(items[first + self.rank]))
                except Exception as caught:
                    error = caught
                    break
            for _ in items[first : first + self.size] if self.is_main else ():
                on_done()
        failed = None if error is None else (len(own) * self.size + self.rank, _text(error))
        parts = self.gather((own, failed))
        failures = sorted(failed for _, failed in parts if failed is not None)
        if failures and error is not None and failures[0] == failed:
            raise error
        if failures:
            raise ToldElsewhere(failures[0][1])
        return [parts[i % self.size][0][i // self.size] for i in range(len(items))]

    def share(self, count: int) -> Iterator[int]:
        self._shares += 1
        while (taken := self._store.add(f"share {self._shares}", 1) - 1) < count:
            self._end_with_others()
            yield taken

    def wait(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        import torch.distributed as dist

        meeting = dist.barrier(group=self._group, async_op=True)
        while not meeting.is_completed():
            self._end_with_others()
            meanwhile()
            time.sleep(_POLL_SECONDS)
        meeting.wait()
        meanwhile()

    @contextmanager
    def together(self) -> Iterator[None]:
        try:
            yield
        except ToldElsewhere:
            raise
        except Exception as error:
            lost = VkitError(
                "another process of this run ended before its time; see what it or the launcher said, and run"
                " the same command again to go on from what is written"
            )
            told = lost if _is_broken_exchange(error) else error
            if (first := self._first(told)) is not None:
                raise ToldElsewhere(first) from error
            if told is lost:
                raise lost from error
            raise

    def leave(self) -> None:
        import torch.distributed as dist

        dist.destroy_process_group()

    def _first(self, error: Exception) -> str | None:
        """The first error of all processes; None where it is this one's."""
        try:
            found = self._store.compare_set("error", "", f"{self.rank} {_text(error)}")
        except (RuntimeError, ValueError):  # the process that keeps the store is gone
            return None
        rank, _, text = found.decode().partition(" ")
        return None if int(rank) == self.rank else text

    def _end_with_others(self) -> None:
        if self._store.check(["error"]):
            raise ToldElsewhere(self._store.get("error").decode().partition(" ")[2])


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, VkitError) else f"{type(error).__name__}: {error}"


def _is_broken_exchange(error: Exception) -> bool:
    """Whether an exchange failed because another process is gone; gloo says so in words alone."""
    from torch.distributed import DistError

    if isinstance(error, VkitError):
        return False
    words = ("gloo", "Connection closed by peer", "Connection reset by peer")
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )
