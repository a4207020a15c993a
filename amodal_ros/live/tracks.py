"""What is remembered: per track the best shapes, each moved along with its object from image to image."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from amodal_ros.live.following import Meeting, Sighting, follow, is_another
from amodal_ros.live.motion import Flow, Matches
from amodal_ros.live.track import PREFERENCE, Request, Shape, Track
from amodal_ros.scene import Completion, MaskRegion, Scene, Source


@dataclass(eq=False)
class Expected:
    """A new image before it is answered: its things, and what is found out meanwhile in a thread of its own.

    Attributes:
        masks: the scene's; other scenes of the same masks are the same image.
        things: positions of those that are followed, the largest first.
        tracks: what is known of each.
        corners: returns, of each, where corners of its previous visible mask were and are now (`Flow.follow`).
    """

    masks: list[MaskRegion]
    things: list[int]
    tracks: list[Track | None]
    corners: Callable[[], list[Matches]]


class Tracks:
    """The memory of a stream: bounded in tracks and bytes whatever the input does.

    Args:
        forget_after: tracks unseen for longer are forgotten (seconds).
        max_tracks: the longest unseen go first. It bounds the time of an answer too: of a frame's objects so many are
            followed, the largest; the others are answered by geometry.
        max_bytes: of masks; the longest unseen go first.
        preference: a completion is shown where a view is expected to be better by less than this IoU.
    """

    def __init__(
        self,
        forget_after: float = 3.0,
        max_tracks: int = 64,
        max_bytes: int = 64 << 20,
        preference: float = PREFERENCE,
    ) -> None:
        self.forget_after, self.max_tracks, self.max_bytes = forget_after, max_tracks, max_bytes
        self.preference = preference
        self.jumps = 0  #: how often an id turned out to be another object
        self._beside: Executor | None = None
        self.clear()

    def clear(self) -> None:
        self._tracks: dict[int, Track] = {}
        self._flow = Flow()
        self._frame = 0
        self._expected: Expected | None = None

    def open(self) -> Executor:
        """Starts the thread that `expect` works in, unless it runs: to make one later fails where memory is short."""
        if self._beside is None:
            self._beside = ThreadPoolExecutor(1, "amodal-flow")
            self._beside.submit(int)
        return self._beside

    def close(self) -> None:
        """Ends that thread; the next image starts another one."""
        if self._beside is not None:
            self._beside.shutdown()
            self._beside = None

    def __len__(self) -> int:
        return len(self._tracks)

    def get(self, instance_id: int) -> Track | None:
        return self._tracks.get(instance_id)

    @property
    def nbytes(self) -> int:
        return sum(track.nbytes for track in self._tracks.values())

    # --- a new image --------------------------------------------------------------------------------------

    def expect(self, scene: Scene) -> None:
        """Begins with a new image, in a thread of its own beside the geometry of its masks; `observe` goes on with it.

        After `prepare` all of this is inside OpenCV, which leaves Python to other threads.
        """
        self._expected = self._begun(scene)

    def _begun(self, scene: Scene) -> Expected:
        self._forget(scene.stamp)  # before matching: what was unseen for longer is not believed when it comes back
        # Counted here: after an image that was begun with and not observed nothing is traced.
        before, self._frame = self._frame, self._frame + 1
        by_size = sorted(range(len(scene.things)), key=lambda i: -scene.masks[i].area)
        followed = [i for i in by_size[: self.max_tracks] if scene.masks[i].area]
        known = [self._tracks.get(scene.things[i].id) for i in followed]
        # Corners can only be followed from the image just before this one, and only matter where something moves along.
        traced = [
            track.visible if track and track.frame == before and track.remembers else MaskRegion.empty()
            for track in known
        ]
        return Expected(scene.masks, followed, known, self._flow.begin(scene.image, traced, self.open()))

    def observe(self, scene: Scene) -> None:
        """Moves everything remembered to this image, judges it there, and remembers views that are better."""
        expected, self._expected = self._expected, None
        if expected is None or expected.masks is not scene.masks:
            expected = self._begun(scene)
        meetings: list[Meeting] = []
        for i, track, corners in zip(expected.things, expected.tracks, expected.corners()):
            seen = Sighting.of(scene, i, corners)
            if track is not None and is_another(track, seen):
                track = None
                self.jumps += 1
            track = track or Track(
                scene.things[i].id, scene.stamp, scene.stamp, seen.visible, preference=self.preference
            )
            meetings.append(Meeting(track, seen))
        follow(meetings, scene)
        for meeting in meetings:
            _remember_view(meeting.track, scene.geometric(meeting.seen.i), scene.occluders in ("instances", "depth"))
            # Re-inserting keeps the dict ordered by when tracks were last seen.
            self._tracks.pop(meeting.track.id, None)
            self._tracks[meeting.track.id] = meeting.track
            meeting.track.frame = self._frame
        self._forget(scene.stamp)

    def prepare(self) -> None:
        """Finds out between images what the next one will ask about the objects of the latest."""
        tracks = [track for track in self._tracks.values() if track.frame == self._frame]
        self._flow.prepare([track.visible for track in tracks if track.remembers])
        for track in tracks:
            leader = track.leader()
            if leader is not None and not (leader.source is Source.UNOCCLUDED and leader.stamp == track.stamp):
                _ = leader.distances

    def _forget(self, now: int) -> None:
        horizon = now - int(self.forget_after * 1e9)
        for track in list(self._tracks.values()):
            if track.stamp >= horizon and len(self._tracks) <= self.max_tracks:
                break
            del self._tracks[track.id]
        excess = self.nbytes - self.max_bytes
        for track in list(self._tracks.values()):
            if excess <= 0:
                break
            excess -= track.nbytes
            del self._tracks[track.id]

    # --- a completion ---------------------------------------------------------------------------------------

    def request(self, instance_id: int) -> Request:
        """Notes that the model gets the latest image of this track.

        Raises:
            KeyError: nothing is known of this instance.
        """
        track = self._tracks[instance_id]
        track.asked = track.stamp
        request = Request(track, track.stamp, track.worth_of_asking, track.geometric)
        track.requests.append(request)
        return request

    def settle(self, request: Request, completion: Completion | None) -> None:
        """Remembers what came of a request with the track that it was made for: nothing when it failed."""
        track = request.track
        if request not in track.requests:
            return
        track.requests.remove(request)
        if completion is None or completion.source is not Source.INFERRED:
            return
        amodal, worth = completion.amodal, request.worth
        if not math.isnan(completion.expected_iou):
            # The judge had the bounded hull to choose from (`completion.judge`) and says how much better the answer is.
            # That counts from what geometry thinks of its hull: of two regressions only differences compare.
            gain = max(0.0, completion.expected_iou - completion.hull_iou)  # 0 where the hull's is not known
            worth = min(1.0, max(completion.expected_iou, request.geometric + gain))
        shape = Shape(request.stamp, completion.source, amodal, worth, pose=request.pose)
        shape.agreement, shape.estimates_outside = completion.agreement, completion.estimates_outside
        if request.stamp == track.stamp:
            shape.moved = shape.hidden = amodal
        # On an image that has passed it waits for the next one, where it is moved and judged.
        track.add(shape)


def _remember_view(track: Track, geometric: Completion, hull: bool) -> None:
    """Keeps what geometry makes of this image, unless an earlier view is still known better.

    Where anything may hide the object (`hull` is False) the bounded hull is mere hull; the visible mask says more.
    """
    worth = track.geometric = geometric.expected_iou
    # A better view that does not explain this image may be right again in the next one: the strikes decide.
    better = [s for s in track.shapes if s.source is not Source.INFERRED and s.aged_worth(track.stamp) > worth]
    if any(s.value(track.stamp) > worth for s in better):
        return
    track.shapes = [s for s in track.shapes if s.source is Source.INFERRED or s in better]
    amodal = geometric.amodal if hull else geometric.visible
    shape = Shape(track.stamp, geometric.source, amodal, worth, moved=amodal, hidden=amodal)
    shape.estimates_outside = geometric.estimates_outside
    track.add(shape)
