"""A model on this machine as the teacher: no endpoint, no cost, the same words every time.

teacher = LocalTeacher("tiny", settings)
outcomes = teacher.ask(tasks)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vkit.errors import VkitError
from vkit.images import open_image
from vkit.models.loading import load_model
from vkit.models.protocol import Picture, Request, Text, weights_digest
from vkit.teacher.outcome import Outcome, failed
from vkit.teacher.task import Settings, Task


class LocalTeacher:
    """A model that vkit loads; it answers greedily.

    settings: as given, the model's name with a digest of its weights, so that other weights in the same
        folder are asked anew.

    Args:
        name, device, dtype: as for `vkit.models.loading.load_model`.

    Raises:
        VkitError: the model cannot be loaded.
    """

    def __init__(self, name: str, settings: Settings, *, device: str = "auto", dtype: str = "auto") -> None:
        self._model = load_model(name, device=device, dtype=dtype)
        self.settings = replace(settings, model=f"{self._model.name}@{weights_digest(self._model)}")

    def ask(self, tasks: Sequence[Task]) -> list[Outcome]:
        """What the model says to each task, answered as one batch; what it cannot encode fails alone."""
        limit = self.settings.max_tokens
        if not self._model.mixes_pictures and len({task.picture is None for task in tasks}) > 1:
            return [outcome for task in tasks for outcome in self.ask([task])]
        try:
            batch = self._model.encode([_request(task) for task in tasks], padding_side="left")
        except VkitError as error:
            if len(tasks) == 1:
                return [failed("not_encoded", str(error))]
            return [outcome for task in tasks for outcome in self.ask([task])]
        outcomes = []
        for layout, ids in zip(batch.layouts, self._model.generate(batch, max_new_tokens=limit)):
            text, failure = self._model.decode(ids), None
            if not text.strip():
                failure = "empty"
            elif len(ids) >= limit:
                failure = "cut_short"
            outcomes.append(Outcome(text, failure, input_tokens=layout.prompt_length, output_tokens=len(ids)))
        return outcomes


def _request(task: Task) -> Request:
    if task.picture is None:
        return Request(task.sample.id, (Text(task.before),))
    picture = Picture(open_image(task.picture))
    return Request(task.sample.id, (Text(task.before), picture, Text(task.after)))
