"""One self-contained page of HTML: pictures inside, no network, light and dark, any screen."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import cv2
import numpy as np

from amodal_ros.lab.view.moments import Case, cut_out
from amodal_ros.scene import MaskRegion
from amodal_ros.scene.overlay import colour_of

#: Longer side of a case's pictures in pixels.
TILE = 320
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]
#: What is left of the brightness around an object.
AROUND = 0.4

STYLE = """
:root { color-scheme: light dark; --fg: #1c2024; --dim: #62686f; --bg: #fcfcfd; --card: #f1f2f4; --line: #d9dbdf;
  --c0: #0b7285; --c1: #b35c00; --c2: #7048a8; --c3: #868e96; }
@media (prefers-color-scheme: dark) { :root { --fg: #e8eaed; --dim: #9aa0a6; --bg: #15171a; --card: #1f2226;
  --line: #34383e; --c0: #4dc4d6; --c1: #f0a04b; --c2: #b79af0; --c3: #9aa0a6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--bg); color: var(--fg);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 1rem 0 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p, figcaption, .note { color: var(--dim); margin: .25rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.card { background: var(--card); border-radius: .5rem; padding: .75rem; } .card b { display: block; font-size: 1.4rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } td.text { white-space: normal; text-align: left; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
figure { margin: 0; background: var(--card); border-radius: .5rem; padding: .5rem; }
.stack { position: relative; } .stack img { display: block; width: 100%; border-radius: .25rem; }
.stack img + img { position: absolute; inset: 0; opacity: 0; }
input[type=range] { width: 100%; margin: .4rem 0 0; accent-color: var(--c0); }
.ends { display: flex; justify-content: space-between; font-size: .8rem; color: var(--dim); }
figcaption { font-size: .85rem; overflow-wrap: anywhere; } img.full { width: 100%; border-radius: .5rem; }
svg { width: 100%; max-width: 40rem; height: auto; font: 12px system-ui, sans-serif; fill: var(--fg); }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .85rem; }
.key i { display: inline-block; width: 1rem; height: .25rem; margin-right: .35rem; vertical-align: middle; }
.bar { height: .7rem; border-radius: 3px; background: var(--c0); }
"""
SCRIPT = """
for (const slider of document.querySelectorAll("input[type=range]")) {
  const images = slider.parentElement.querySelectorAll("img");
  const show = () => {
    images[1].style.opacity = Math.min(1, slider.value);
    images[2].style.opacity = Math.max(0, slider.value - 1);
  };
  slider.addEventListener("input", show); show();
}
"""


def page(title: str, *parts: str) -> str:
    """A document of these parts, each HTML."""
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main><h1>{escape(title)}</h1>\n"
        + "\n".join(parts)
        + f"\n</main><script>{SCRIPT}</script></body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def note(text: str) -> str:
    return f"<p class=note>{escape(text)}</p>"


def cards(figures: Mapping[str, str]) -> str:
    """A few figures that say most."""
    inner = "".join(f"<div class=card><b>{escape(value)}</b>{escape(name)}</div>" for name, value in figures.items())
    return f"<div class=cards>{inner}</div>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column is text, the others are figures."""
    head = "".join(f"<th scope=col>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def facts(rows: Mapping[str, str]) -> str:
    """Names with what is said of them."""
    body = "".join(f"<tr><th scope=row>{escape(k)}</th><td class=text>{escape(v)}</td></tr>" for k, v in rows.items())
    return f"<div class=wide><table><tbody>{body}</tbody></table></div>"


def curves(series: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str) -> str:
    """Lines over a plane of [0, 1] by [0, 1], as a drawing that follows the page's colours.

    Args:
        series: name -> points in ascending order; at most four.
        x, y: what the axes are.
    """
    width, height, left, low = 560, 300, 48, 260
    place = lambda point: (left + point[0] * (width - left - 22), low - point[1] * (low - 10))  # noqa: E731
    parts = [f'<svg viewBox="0 0 {width} {height}" role=img aria-label="{escape(y)} against {escape(x)}">']
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        (gx, _), (_, gy) = place((tick, 0)), place((0, tick))
        parts.append(f'<line x1={left} x2={width - 22} y1={gy:.0f} y2={gy:.0f} stroke="var(--line)"/>')
        parts.append(f"<text x={left - 8} y={gy + 4:.0f} text-anchor=end>{100 * tick:.0f}</text>")
        parts.append(f"<text x={gx:.0f} y={low + 16} text-anchor=middle>{100 * tick:.0f}</text>")
    parts.append(f"<text x={(left + width) / 2:.0f} y={height - 4} text-anchor=middle>{escape(x)}, %</text>")
    parts.append(f'<text transform="translate(12 {low / 2:.0f}) rotate(-90)" text-anchor=middle>{escape(y)}, %</text>')
    for k, points in enumerate(series.values()):
        line = " ".join("{:.1f},{:.1f}".format(*place(point)) for point in points)
        parts.append(f'<polyline points="{line}" fill=none stroke="var(--c{k})" stroke-width=2.5 />')
        parts += ['<circle cx={:.1f} cy={:.1f} r=3 fill="var(--c{})"/>'.format(*place(point), k) for point in points]
    key = "".join(
        f'<span><i style="background: var(--c{k})"></i>{escape(name)}</span>' for k, name in enumerate(series)
    )
    return "".join([*parts, "</svg>", f"<div class=key>{key}</div>"])


def shares(counts: Mapping[str, int]) -> str:
    """How a whole is made up, as bars."""
    whole = max(1, sum(counts.values()))
    rows = "".join(
        f'<tr><th scope=row>{escape(name)}</th><td>{count:,}</td><td>{count / whole:.0%}</td><td style="width: 50%">'
        f'<div class=bar style="width: {100 * count / whole:.1f}%"></div></td></tr>'
        for name, count in counts.items()
    )
    return f"<div class=wide><table><tbody>{rows}</tbody></table></div>"


def picture(image: np.ndarray, alt: str) -> str:
    """A whole picture, RGB."""
    return f'<p><img class=full loading=lazy alt="{escape(alt)}" src="{_data(image)}"></p>'


def case_figures(cases: Sequence[Case]) -> str:
    """Each case with a slider from what is visible over the answer to the truth."""
    return f"<div class=cases>{''.join(map(_case, cases))}</div>"


def _case(case: Case) -> str:
    moment = cut_out(case.moment)
    (answer,) = moment.answers or []
    truth = moment.truth[answer.instance.id]
    done = answer.completion
    stack = "".join(
        f'<img alt="{name}" src="{_data(_tile(moment.image, mask, done.visible, answer.instance.id))}">'
        for name, mask in (("visible", done.visible), ("answer", done.amodal), ("truth", truth))
    )
    return (
        f"<figure><div class=stack>{stack}</div>"
        f'<input type=range min=0 max=2 step=any value=1 aria-label="visible, answer, truth: {escape(moment.title)}">'
        "<div class=ends><span>visible</span><span>answer</span><span>truth</span></div>"
        f"<figcaption>{escape(moment.title)}: IoU {case.iou:.2f}, visible alone {case.modal:.2f}, "
        f"{case.occlusion:.0%} hidden, {escape(case.source)}</figcaption></figure>"
    )


def _tile(image: np.ndarray, mask: MaskRegion, visible: MaskRegion, number: int) -> np.ndarray:
    """The image with all but a mask dimmed, the mask outlined and what is hidden of it tinted."""
    height, width = image.shape[:2]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    tile = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    inside, seen = (
        cv2.resize(m.window(0, 0, width, height).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
        for m in (mask, visible)
    )
    colour = np.array(colour_of(number + 1))
    result = np.where(inside[..., None], tile, (AROUND * tile).astype(np.uint8))
    hidden = inside & ~seen
    result[hidden] = (0.5 * result[hidden] + 0.5 * colour).astype(np.uint8)
    contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.ascontiguousarray(result), contours, -1, colour.tolist(), 2, cv2.LINE_AA)


def _data(image: np.ndarray) -> str:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), JPEG)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
