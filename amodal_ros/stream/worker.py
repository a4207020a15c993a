"""The thread that answers for `amodal_node`: pair in, array out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from amodal_ros.live.plain import PlainAnswerer
from amodal_ros.scene import Answer, Scene
from amodal_ros.stream.answerers import Loaded
from amodal_ros.stream.frames import Frames
from amodal_ros.stream.intake import Intake
from amodal_ros.stream.masks import UNSAID
from amodal_ros.stream.pairing import Pair
from amodal_ros.stream.parameters import Parameters
from amodal_ros.stream.serving import Note, Server
from amodal_ros.stream.timings import Timings

#: Answers a frame whose stamp is not believed: it neither uses nor disturbs what is remembered.
GEOMETRY = PlainAnswerer()

Publish = Callable[[object, Scene, list[Answer]], None]


class Worker(Server):
    """Answers pairs until the intake closes, then gives the model's memory back.

    Args:
        loaded: started; the worker stops and frees it at its end.
        publish, show: called with (image message, scene, answers); `show` after the answers are out.
        parameters: an attribute, which may change at any time, as `legend`: what the masks' class numbers mean.
        note: as in `Server`.
    """

    def __init__(
        self,
        intake: Intake,
        loaded: Loaded,
        publish: Publish,
        show: Publish,
        parameters: Parameters,
        timings: Timings,
        note: Note,
    ) -> None:
        super().__init__(intake, timings, lambda: self.parameters.catch_up, note)
        self.parameters = parameters
        self.legend = UNSAID
        self._loaded: Loaded | None = loaded
        self._frames = Frames(partial(intake.flaw, "instance_mask"))
        self._publish, self._show = publish, show
        self._latest: tuple[Scene, list[Answer]] | None = None

    def run(self) -> None:
        loaded = self._loaded
        assert loaded is not None
        try:
            super().run()
        finally:
            self._loaded = self._latest = None  # whoever keeps the worker for its figures keeps no model
            loaded.answerer.stop()
            loaded.free()

    def answer(self, pair: Pair) -> bool:
        """The objects of one image."""
        loaded, parameters = self._loaded, self.parameters
        assert loaded is not None
        loaded.follow(parameters)
        if pair.jumped:
            loaded.answerer.reset()
            self._frames.reset()
            self.time_jumps += 1
            self.note("time_jump", "stamps went back (a bag that loops?): what was remembered is forgotten")
        with loaded.precedence.taken():
            with self.timings.measure("decode"):
                scene = self._frames.scene(
                    pair.messages, pair.stamp, parameters, loaded.occluders, pair.believed, self.legend
                )
            with self.timings.measure("answer"):
                answerer = loaded.answerer if pair.believed else GEOMETRY
                answers = answerer.answer(scene, self._interrupt.is_set)
                if pair.believed:
                    self._frames.learn(scene, answers)
            if self._interrupt.is_set():
                return False
            with self.timings.measure("publish"):
                self._publish(pair.messages["image"], scene, answers)
        self.objects = Counter(answer.completion.source.name for answer in answers)
        self._latest = scene, answers
        return True

    def prepare(self) -> None:
        """What the next frame needs of this one."""
        if self._loaded is not None:
            self._loaded.answerer.prepare()

    def show(self, pair: Pair) -> None:
        """A picture of the latest answers."""
        latest, self._latest = self._latest, None
        assert latest is not None
        self._show(pair.messages["image"], *latest)
