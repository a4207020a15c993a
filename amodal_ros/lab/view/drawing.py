"""Moments as a Rerun recording: layers over the image, plots per object, what was dropped, well arranged."""

from __future__ import annotations

import math
import os
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rerun as rr
import rerun.blueprint as rrb

from amodal_ros.lab.view.moments import Case, Cloud, Moment, cut_out
from amodal_ros.scene import MaskRegion, Source
from amodal_ros.scene.overlay import WORDS, colour_of, label, outlines

#: Colours of points in the plots, by source.
SOURCES = {
    Source.INFERRED: (80, 220, 100),
    Source.PROPAGATED: (80, 170, 255),
    Source.REMEMBERED: (190, 120, 255),
    Source.UNOCCLUDED: (200, 200, 200),
    Source.GEOMETRIC: (255, 170, 60),
    Source.VISIBLE_ONLY: (255, 80, 80),
}
PLOTS = {"occlusion": "hidden share", "expected_iou": "expected IoU", "age": "age of the shape, s"}
JPEG, PNG = [cv2.IMWRITE_JPEG_QUALITY, 85], [cv2.IMWRITE_PNG_COMPRESSION, 3]
#: Where Rerun's viewer listens.
PORT = 9876
#: Opacity of visible masks, and of whole shapes from an expected IoU of 0 to 1.
SEEN, WHOLE = 0.2, (0.1, 0.5)


class Drawing:
    """A recording that is being written.

    Args:
        title: what the viewer calls it.
        save: a ``.rrd`` file; None opens the viewer's window.
        blueprint: how it is arranged, of `drive_blueprint` and its kin.

    Raises:
        ValueError: there is no display for a window.
    """

    def __init__(self, title: str, save: Path | None, blueprint: Any) -> None:
        self._stream = rr.RecordingStream("amodal_ros", recording_id=title)
        if save is None and not _window():
            raise ValueError("no display here; --save FILE.rrd writes a recording, to open elsewhere: rerun FILE.rrd")
        if save is not None:
            self._stream.save(save, default_blueprint=blueprint)
        else:
            self._stream.spawn(default_blueprint=blueprint)
        self._named: set[int] = set()
        self._dropped: Counter[str] = Counter()
        self._log("about", rr.TextDocument(_about(), media_type="text/markdown"), static=True)

    def close(self) -> None:
        """All is on disk, or with the viewer."""
        self._stream.flush()
        self._stream.disconnect()

    def __enter__(self) -> Drawing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what there is to see -----------------------------------------------------------------------------

    def moment(self, number: int, moment: Moment) -> None:
        """An image with its layers, and a point of every object's plots."""
        self._at(number, moment.stamp)
        shape, answers = moment.image.shape[:2], moment.answers or []
        self._log("camera/image", _encoded(moment.image[..., ::-1], ".jpg", "image/jpeg", JPEG))
        seen = [(a.completion.visible, a.instance.id, SEEN) for a in answers]
        whole = [(a.completion.amodal, a.instance.id, _opacity(a.completion.expected_iou)) for a in answers]
        self._log("camera/visible", _encoded(_layer(seen, shape), ".png", "image/png", PNG, 1.0))
        self._log("camera/amodal", _encoded(_layer(whole, shape), ".png", "image/png", PNG, 2.0))
        texts = [label(a, moment.names) for a in answers]
        colours = [a.instance.id for a in answers]
        self._outlines("camera/shapes", [a.completion.amodal for a in answers], colours, 1.0, texts)
        self._outlines("camera/possible", [a.completion.possible for a in answers], colours, 0.5)
        self._outlines("camera/truth", [*moment.truth.values()], None, 1.0)
        for answer in answers:
            self._plot(answer, moment)
        if moment.answers is None:
            self._log("events", rr.TextLog("image was not answered", level=rr.TextLogLevel.WARN))

    def case(self, number: int, case: Case) -> None:
        """One evaluated object, cut out of its image."""
        self.moment(number, cut_out(case.moment))
        text = (
            f"## {number + 1}. {case.moment.title}\n\n| | |\n|---|---|\n| IoU of the answer | {case.iou:.3f} |\n"
            f"| IoU of what is visible | {case.modal:.3f} |\n| hidden | {case.occlusion:.0%} |\n"
            f"| source | {case.source} |"
        )
        self._log("case", rr.TextDocument(text, media_type="text/markdown"))
        for name, value, colour in (("answer", case.iou, (77, 196, 214)), ("visible", case.modal, (240, 160, 75))):
            if number == 0:
                self._log(f"iou/{name}", rr.SeriesLines(colors=colour, names=name, widths=1.5), static=True)
            self._log(f"iou/{name}", rr.Scalars(value))

    def said(self, stamp: int, diagnostics: Any) -> None:
        """What the node said on /diagnostics: its drops by reason, and whatever was not OK."""
        self._at(None, stamp)
        for status in diagnostics.status:
            level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
            if level:
                self._log("events", rr.TextLog(f"{status.name}: {status.message}", level=rr.TextLogLevel.WARN))
            for pair in status.values:
                if status.name.endswith(": answers") and pair.key.startswith("dropped."):
                    self._drop(pair.key.removeprefix("dropped."), int(pair.value))

    def camera(self, matrix: np.ndarray, shape: tuple[int, int]) -> None:
        """Where the image stands in 3D: camera matrix float (3, 3), (height, width)."""
        self._log("/", rr.ViewCoordinates.RDF, static=True)  # x right, y down, z forward
        self._log("camera", rr.Pinhole(image_from_camera=matrix, resolution=shape[::-1]), static=True)

    def cloud(self, cloud: Cloud) -> None:
        """Obstacles: large points where they are seen, small ones where they are hidden."""
        self._at(None, cloud.stamp)
        colours = [colour_of(int(number)) for number in cloud.ids]
        radii = np.where(cloud.hidden, 0.04, 0.08)
        self._log("obstacles", rr.Points3D(cloud.points, colors=colours, radii=radii))

    def figure(self, path: str, image: np.ndarray) -> None:
        """A picture that belongs to no moment, RGB."""
        self._log(path, _encoded(image[..., ::-1], ".png", "image/png", PNG), static=True)

    # --- how ----------------------------------------------------------------------------------------------

    def _log(self, path: str, what: Any, static: bool = False) -> None:
        self._stream.log(path, what, static=static)

    def _at(self, number: int | None, stamp: int | None) -> None:
        self._stream.reset_time()
        if stamp is not None:
            self._stream.set_time("stamp", timestamp=np.datetime64(stamp, "ns"))
        if number is not None:
            self._stream.set_time("number", sequence=number)

    def _outlines(
        self, path: str, masks: Sequence[MaskRegion], ids: Sequence[int] | None, width: float, texts: Sequence[str] = ()
    ) -> None:
        strips, colours, labels = [], [], []
        for k, mask in enumerate(masks):
            for n, strip in enumerate(_contours(mask)):
                strips.append(strip)
                colours.append(colour_of(ids[k]) if ids is not None else (255, 255, 255))
                labels.append(texts[k] if texts and n == 0 else "")
        self._log(
            path,
            rr.LineStrips2D(
                strips,
                colors=colours,
                radii=rr.Radius.ui_points(width),
                labels=labels if texts else None,
                show_labels=bool(texts),
                draw_order=5,
            ),
        )

    def _plot(self, answer: Any, moment: Moment) -> None:
        done, number = answer.completion, answer.instance.id
        values = {"occlusion": done.occlusion_ratio, "expected_iou": done.expected_iou}
        if moment.stamp is not None:
            values["age"] = (moment.stamp - answer.inferred_at) * 1e-9
        if number not in self._named:
            self._named.add(number)
            for plot in values:
                name = moment.names.get(number, f"{number} {answer.instance.class_id}".rstrip())
                lines = rr.SeriesLines(colors=colour_of(number), names=name, widths=1.5)
                self._log(f"plots/{plot}/{number}", lines, static=True)
                self._log(f"plots/{plot}/{number}/source", rr.SeriesPoints(names=f"{name}: source"), static=True)
        for plot, value in values.items():
            if not math.isnan(value):
                self._log(f"plots/{plot}/{number}", rr.Scalars(value))
                points = rr.SeriesPoints(colors=SOURCES.get(done.source, (255, 255, 255)), marker_sizes=3.0)
                self._log(f"plots/{plot}/{number}/source", rr.Scalars(value))
                self._log(f"plots/{plot}/{number}/source", points)

    def _drop(self, reason: str, count: int) -> None:
        fresh = count - self._dropped[reason]
        self._dropped[reason] = count
        self._log(f"drops/{reason}", rr.Scalars(count))
        if fresh:
            self._log("events", rr.TextLog(f"{fresh} dropped: {reason}", level=rr.TextLogLevel.WARN))


def drive_blueprint(shape: tuple[int, int] | None = None, traced: bool = False) -> Any:
    """The picture on the left, filling its view if (height, width) is known; the plots on the right, events below."""
    hidden = rrb.PlotLegend(
        visible=False
    )  # it covers the plot; colours are those of the outlines, names are told there
    right = [rrb.TimeSeriesView(origin=f"plots/{p}", name=line, plot_legend=hidden) for p, line in PLOTS.items()]
    events = rrb.Horizontal(
        rrb.TextLogView(origin="events", name="not answered, dropped, warnings"),
        rrb.TimeSeriesView(origin="drops", name="drops by reason"),
        rrb.TextDocumentView(origin="about", name="what is what"),
    )
    bounds = rrb.VisualBounds2D(x_range=(0, shape[1]), y_range=(0, shape[0])) if shape else None
    picture = rrb.Spatial2DView(origin="camera", name="answers", visual_bounds=bounds)
    world = rrb.Spatial3DView(origin="/", contents=["/camera/image", "/camera/amodal", "/obstacles"], name="in 3D")
    left = rrb.Tabs(picture, world, *[rrb.Spatial2DView(origin="trace", name="trace")] * traced, active_tab=2 * traced)
    body = rrb.Horizontal(rrb.Vertical(left, events, row_shares=[3, 1]), rrb.Vertical(*right), column_shares=[3, 2])
    return rrb.Blueprint(body, rrb.TimePanel(state="collapsed", timeline="stamp"), collapse_panels=True)


def cases_blueprint() -> Any:
    """One object at a time, worst first, with its figures."""
    figures = rrb.Vertical(
        rrb.TextDocumentView(origin="case", name="object"),
        rrb.TimeSeriesView(origin="iou", name="IoU, worst first"),
        rrb.TextDocumentView(origin="about", name="what is what"),
    )
    body = rrb.Horizontal(rrb.Spatial2DView(origin="camera", name="answer and truth"), figures, column_shares=[3, 2])
    return rrb.Blueprint(body, rrb.TimePanel(state="collapsed", timeline="number", fps=1.0), collapse_panels=True)


def picture_blueprint() -> Any:
    """One image."""
    body = rrb.Horizontal(
        rrb.Spatial2DView(origin="camera", name="answers"), rrb.TextDocumentView(origin="about"), column_shares=[4, 1]
    )
    return rrb.Blueprint(body, collapse_panels=True)


def _about() -> str:
    rows = [f"| {WORDS[source][0]} | {source} | {WORDS[source][1]} |" for source in SOURCES]
    return "\n".join(
        [
            "Layers under *camera*, each can be switched off:",
            "",
            "* **visible**: what the segmenter saw, the colour tells the id",
            "* **amodal**: the whole object, the more opaque the higher its expected IoU",
            "* **possible**: thin outline, where the object can be",
            "* **truth**: white, where it is known",
            "",
            "Points in the plots tell the source:",
            "",
            "| word | source | |",
            "|---|---|---|",
            *rows,
        ]
    )


def _opacity(expected_iou: float) -> float:
    low, high = WHOLE
    return low + (high - low) * (0.5 if math.isnan(expected_iou) else float(np.clip(expected_iou, 0, 1)))


def _layer(masks: Sequence[tuple[MaskRegion, int, float]], shape: tuple[int, int]) -> np.ndarray:
    """Masks in the colours of their ids, BGRA uint8 (height, width, 4); large ones below small ones."""
    canvas = np.zeros((*shape, 4), np.uint8)
    for mask, number, opacity in sorted(masks, key=lambda entry: -entry[0].area):
        inside = mask.clip(*shape)
        rows, columns = slice(inside.y, inside.y + inside.height), slice(inside.x, inside.x + inside.width)
        canvas[rows, columns][inside.bits] = (*colour_of(number)[::-1], round(255 * opacity))
    return canvas


def _contours(mask: MaskRegion) -> list[np.ndarray]:
    """Closed outlines, float32 (n, 2) each."""
    return [np.concatenate([line, line[:1]]).astype(np.float32) for line in outlines(mask)]


def _encoded(
    image: np.ndarray, suffix: str, media_type: str, options: Sequence[int], draw_order: float | None = None
) -> Any:
    """BGR or BGRA as a compressed image."""
    _, data = cv2.imencode(suffix, image, options)
    # Without an opacity images that lie over each other would all be shown half transparent.
    return rr.EncodedImage(contents=data.tobytes(), media_type=media_type, opacity=1.0, draw_order=draw_order)


def _window() -> bool:
    """Whether a viewer can open, or is open already, perhaps at the other end of a tunnel."""
    if sys.platform != "linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"))):
        return True
    with socket.socket() as viewer:
        return viewer.connect_ex(("127.0.0.1", PORT)) == 0
