"""Who is who, where masks come without ids."""

from __future__ import annotations

import numpy as np

from amodal_ros.live.identity import Identities
from amodal_ros.scene import MaskRegion

SHAPE = (60, 200)
RED, BLUE = (200, 30, 30), (30, 30, 200)


def box(x: int, y: int, width: int, height: int) -> MaskRegion:
    return MaskRegion(x, y, np.ones((height, width), bool)).clip(*SHAPE)


def picture(*parts: tuple[MaskRegion, tuple[int, int, int]]) -> np.ndarray:
    image = np.full((*SHAPE, 3), 90, np.uint8)
    for mask, colour in parts:
        image[mask.full(*SHAPE)] = colour
    return image


def drive(identities: Identities, frames) -> list[list[int]]:
    """ids of each frame; a frame is [(visible mask, colour, whole mask)]."""
    ids = []
    for k, frame in enumerate(frames):
        masks = [visible for visible, _, _ in frame]
        image = picture(*((visible, colour) for visible, colour, _ in frame))
        found = identities.identify((k + 1) * 100_000_000, image, masks, ["car"] * len(masks))
        identities.learn({owners[0][0]: whole for owners, (_, _, whole) in zip(found, frame) if len(owners) == 1})
        ids.append([id for owners in found for id, _ in owners])
    return ids


def behind_a_wall(start: int, stop: int, wall: MaskRegion):
    """A car that passes behind a wall, of which a piece is seen before and behind."""
    for x in range(start, stop, 6):
        whole = box(x, 20, 50, 20)
        visible = whole - wall
        yield [(visible.trim(), RED, whole)] if visible.area else []


def test_an_object_keeps_its_id_while_it_moves_and_a_new_one_gets_its_own():
    frames = [[(box(5 * k, 10, 30, 20), RED, box(5 * k, 10, 30, 20))] for k in range(6)]
    frames[3].append((box(150, 30, 20, 20), BLUE, box(150, 30, 20, 20)))
    ids = drive(Identities(), frames)
    assert [found[0] for found in ids] == [1] * 6 and ids[3][1] == 2


def test_the_whole_shape_knows_an_object_again_whose_other_end_comes_into_the_open():
    """The front that comes out right of the wall meets nothing that was seen in the image before."""
    wall = box(80, 0, 52, 60)
    frames = list(behind_a_wall(20, 150, wall))
    ours = {id for found in drive(Identities(), frames) for id in found}
    plain = {id for found in drive(Identities(wholes=False), frames) for id in found}
    assert len(ours) == 1 and len(plain) > 1


def test_another_object_at_the_place_is_another():
    red, blue = box(50, 20, 40, 20), box(88, 20, 22, 20)
    frames = [[(red, RED, box(50, 20, 60, 20))]] * 3 + [[(blue, BLUE, blue)]]
    assert drive(Identities(), frames)[-1] == [2]
    frames[-1] = [(blue, RED, blue)]
    assert drive(Identities(), frames)[-1] == [1], "its other end"


def test_an_object_that_leaps_before_its_motion_is_known_keeps_its_id():
    """An oncoming car's second image at 10 Hz: its masks do not meet."""
    frames = [[(box(20, 10, 30, 20), RED, box(20, 10, 30, 20))], [(box(52, 10, 33, 22), RED, box(52, 10, 33, 22))]]
    assert drive(Identities(), frames) == [[1], [1]]
    frames[1] = [(box(120, 10, 33, 22), RED, box(120, 10, 33, 22))]
    assert drive(Identities(), frames) == [[1], [2]], "too far"


def test_the_pieces_that_a_pole_makes_of_an_object_are_one():
    whole, pole = box(40, 20, 60, 20), box(65, 0, 6, 60)
    pieces = [box(40, 20, 25, 20), box(71, 20, 29, 20)]
    ids = drive(
        Identities(), [[(whole, RED, whole)], [(p, RED, whole) for p in pieces], [(p, RED, whole) for p in pieces]]
    )
    assert ids == [[1], [1, 1], [1, 1]] and not (pieces[0] & pole).area


def test_two_that_were_one_mask_from_the_first_and_come_apart_are_two():
    """As a detector sees two people from afar. While they are near, they are taken for one behind a pole."""
    frames = []
    for k in range(16):
        masks = [box(90 - k, 20, 10, 30), box(102 + k, 20, 10, 30)]
        frames.append([(m, RED, m) for m in ([MaskRegion.union_of(masks)] if k < 2 else masks)])
    ids = drive(Identities(), frames)
    assert ids[2] == [1, 1] and len(set(ids[-1])) == 2 and ids[-4:] == [ids[-1]] * 4


def test_what_is_long_gone_is_forgotten_and_numbers_are_given_once():
    identities = Identities()
    mask = box(50, 20, 40, 20)
    image = picture((mask, RED))
    assert identities.identify(1, image, [mask], ["car"]) == [[(1, mask)]]
    assert identities.identify(10_000_000_000, image, [mask], ["car"]) == [[(2, mask)]]
    identities.clear()
    assert identities.identify(10_100_000_000, image, [mask], ["car"], taken={3}) == [[(4, mask)]]


def test_two_objects_that_share_one_label_for_a_while_are_cut_and_keep_their_ids():
    """Two that come to touch, or whose tracker lends one's id to the other: one mask, later two again."""
    identities = Identities()
    for k in range(19):
        pair = {1: box(20 + round(36 * np.sin(np.pi * k / 18)), 20, 22, 30), 2: box(77, 22, 22, 30)}
        shared = 4 <= k < 15
        masks = [MaskRegion.union_of(pair.values())] if shared else list(pair.values())
        image = picture((pair[1], RED), (pair[2], BLUE))
        found = identities.identify((k + 1) * 100_000_000, image, masks, ["person"] * len(masks))
        owned = {id: mask for owners in found for id, mask in owners}
        assert owned.keys() == {1, 2} and not owned[1].overlap(owned[2]), k
        assert all(owned[id].iou(pair[id]) > 0.7 for id in pair), k


def test_who_goes_behind_another_is_not_cut_out_of_it():
    front, parts = box(80, 10, 40, 40), []
    for k in range(14):
        behind = (box(20 + 5 * k, 20, 22, 20) - front).trim()
        parts.append([(m, c, m) for m, c in ((front, BLUE), (behind, RED)) if m.area])
    assert drive(Identities(), parts)[-1] == [1]


def test_a_detector_that_wavers_between_one_and_two_is_not_followed():
    whole = box(40, 20, 60, 20)
    halves = [box(40, 20, 30, 20), box(70, 20, 30, 20)]
    frames = [[(whole, RED, whole)]] * 4 + [[(half, RED, half) for half in halves]] * 2 + [[(whole, RED, whole)]] * 3
    assert [len(found) for found in drive(Identities(), frames)] == [1] * 4 + [2] * 2 + [1] * 3


def test_what_was_not_seen_apart_for_long_is_one():
    apart = [(m, RED, m) for m in (box(40, 20, 20, 20), box(62, 20, 20, 20))]
    one = box(40, 20, 42, 20)
    counts = [len(found) for found in drive(Identities(), [apart] * 5 + [[(one, RED, one)]] * 40)]
    assert counts[:5] == [2] * 5 and counts[5:30] == [2] * 25 and counts[-1] == 1
