"""Every equation against a few independent lines on small tensors, and the limits of its parameters."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amodal_ros.completion.area import hull_area, inpainting_area, latent_area
from amodal_ros.completion.backends.schedules import DiffusionSchedule
from amodal_ros.completion.condition import background_pixels, condition_image, object_pixels
from amodal_ros.completion.sampler import leak, leakage_strength, mask_guidance
from amodal_ros.settings.method import Settings
from amodal_ros.settings.readings import Black, Contrast, Equation, Histogram, Start

BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)


def grid(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(s=st.floats(0, 1), seed=st.integers(0, 99))
def test_eq_7_is_written_out_pixel_by_pixel(s, seed):
    z, x_t = grid(1, 4, 3, 3, seed=seed), grid(1, 4, 3, 3, seed=seed + 1)
    mask = (grid(1, 1, 3, 3, seed=seed + 2) > 0).float()
    got = leak(z, x_t, mask, s)
    for row in range(3):
        for column in range(3):
            inside = bool(mask[0, 0, row, column])
            z_p, x_p = z[0, :, row, column], x_t[0, :, row, column]
            want = s * z_p + (1 - s) * x_p if inside else x_p
            torch.testing.assert_close(got[0, :, row, column], want)


def test_limits_of_the_leakage():
    z, x_t, mask = grid(2, 4, 3, 3), grid(2, 4, 3, 3, seed=1), torch.ones(2, 1, 3, 3)
    assert torch.equal(leak(z, x_t, mask, 0.0), x_t), "nothing new without strength"
    assert torch.equal(leak(z, x_t, mask, 1.0), z), "Eq. 5 with everything masked"


@pytest.mark.parametrize(
    ("reading", "inside", "outside"),
    [("equation", 0.3, 0.0), ("soft", 0.3, 0.3), ("start", 1.0, 1.0), ("anchored", 1.0, 0.0)],
)
def test_readings_leak_where_they_say(reading, inside, outside):
    """The share of the newly painted latents inside and outside M."""
    mask = torch.tensor([[[[1.0, 0.0]]]])
    strength = leakage_strength(mask, Settings().replace(reading=reading), has_mask_input=True)
    new = leak(torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 1, 2), *strength)
    torch.testing.assert_close(new.flatten(), torch.tensor([inside, outside]))


def test_without_mask_input_guidance_becomes_an_effective_leakage():
    """Eq. 11 put into Eq. 7, where pred(empty M) gives x_t."""
    settings = Settings().replace(reading="equation", leakage=0.3, guidance=0.75)
    mask, z, x_t = torch.tensor([[[[1.0, 0.0]]]]), grid(1, 1, 1, 2), grid(1, 1, 1, 2, seed=1)
    got = leak(z, x_t, *leakage_strength(mask, settings, has_mask_input=False))
    blended = mask * z + (1 - mask) * x_t  # Eq. 5
    guided = 1.75 * blended - 0.75 * x_t  # Eq. 11
    torch.testing.assert_close(got, 0.3 * guided + 0.7 * x_t)  # Eq. 7


def test_eq_11_and_its_limit():
    a, b = grid(3), grid(3, seed=1)
    torch.testing.assert_close(mask_guidance(a, b, 0.75), a + 0.75 * (a - b))
    assert torch.equal(mask_guidance(a, b, 0.0), a)


def test_eq_1_is_the_schedulers_forward_process():
    schedule = DiffusionSchedule(BETAS, 20, torch.device("cpu"))
    x, noise = grid(2, 4, 3, 3), grid(2, 4, 3, 3, seed=1)
    abar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
    for level in (0, 7, 19):
        a = abar[int(schedule.timestep(level))]
        torch.testing.assert_close(schedule.noised(x, noise, level), a.sqrt() * x + (1 - a).sqrt() * noise)
    assert torch.equal(schedule.noised(x, noise, 20), x), "after the last step x_t is x itself"


def test_a_step_with_the_true_noise_lands_on_the_next_level():
    """What makes the blend of Eq. 7 consistent: the solver and the forward process share their levels."""
    schedule = DiffusionSchedule(BETAS, 20, torch.device("cpu"))
    x, noise = grid(1, 4, 3, 3), grid(1, 4, 3, 3, seed=1)
    for level in range(19):
        z, clean = schedule.step(noise, level, schedule.noised(x, noise, level))
        torch.testing.assert_close(z, schedule.noised(x, noise, level + 1), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(clean, x, atol=2e-3, rtol=2e-3)


def test_one_noise_per_object_keeps_the_blends_variance():
    """A fresh draw in each step would lose it: that is why x_t and z share theirs."""
    schedule = DiffusionSchedule(BETAS, 20, torch.device("cpu"))
    zero, noise, fresh = torch.zeros(1, 4, 64, 64), grid(1, 4, 64, 64), grid(1, 4, 64, 64, seed=1)
    right = float(schedule.noised(zero, noise, 5).var())
    blend = leak(schedule.noised(zero, noise, 5), schedule.noised(zero, noise, 5), 1.0, 0.3)
    lossy = leak(schedule.noised(zero, noise, 5), schedule.noised(zero, fresh, 5), 1.0, 0.3)
    assert float(blend.var()) == pytest.approx(right, rel=1e-3)
    assert float(lossy.var()) == pytest.approx((0.3**2 + 0.7**2) * right, rel=0.05)


@pytest.mark.parametrize(("strength", "steps", "done"), [(0.3, 20, 6), (0.0, 20, 1), (1.0, 20, 20), (0.3, 1, 1)])
def test_start_takes_the_last_share_of_the_steps(strength, steps, done):
    assert steps - Start(strength).first_step(steps) == done
    assert Equation(strength).first_step(steps) == 0


def test_eq_8_and_9():
    rng, image = np.random.default_rng(3), np.random.default_rng(1).uniform(-1, 1, (8, 8, 3)).astype(np.float32)
    eps = np.random.default_rng(3).standard_normal((8, 8, 3), dtype=np.float32)
    np.testing.assert_allclose(object_pixels(image, 0.3, rng), 0.3 * eps + 0.7 * image, rtol=1e-6)
    assert np.array_equal(object_pixels(image, 0.0, rng), image), "no noise leaves the image"
    visible = np.zeros((8, 8), bool)
    visible[2:5, 2:5] = True
    x = condition_image(visible, image, -image)
    np.testing.assert_array_equal(x, visible[..., None] * image + ~visible[..., None] * -image)


def test_background_is_drawn_from_the_objects_colour_histogram():
    image = np.zeros((40, 40, 3), np.float32)
    image[:20], image[20:30] = (0.5, -0.5, 0.0), (-1.0, 1.0, 1.0)
    visible = np.zeros((40, 40), bool)
    visible[10:25] = True  # two thirds of the first colour, one third of the second
    drawn = background_pixels(image, visible, Histogram(0.0), np.random.default_rng(0))
    first = (drawn == (0.5, -0.5, 0.0)).all(-1)
    second = (drawn == (-1.0, 1.0, 1.0)).all(-1)
    assert (first | second).all(), "colours are drawn jointly, none is invented"
    assert first.mean() == pytest.approx(2 / 3, abs=0.05)
    blurred = background_pixels(image, visible, Histogram(4.0 / len(image)), np.random.default_rng(0))
    assert blurred.std() < drawn.std() and blurred.mean() == pytest.approx(drawn.mean(), abs=0.05)


def test_plain_backgrounds():
    image = np.full((8, 8, 3), 0.6, np.float32)
    visible = np.eye(8, dtype=bool)
    rng = np.random.default_rng(0)
    assert (background_pixels(image, visible, Black(), rng) == -1).all()
    contrast = background_pixels(image, visible, Contrast(), rng)
    assert np.abs(contrast - image).min() > 1.0 and (contrast == contrast[0, 0]).all()


@given(seed=st.integers(0, 999))
def test_eq_10_is_the_hull_of_all_contours(seed):
    rng = np.random.default_rng(seed)
    visible = np.zeros((24, 24), bool)
    for _ in range(rng.integers(1, 4)):
        y, x = rng.integers(0, 18, 2)
        visible[y : y + rng.integers(1, 6), x : x + rng.integers(1, 6)] = True
    area = hull_area(visible)
    assert area[visible].all()
    ys, xs = np.nonzero(visible)
    for y, x in np.argwhere(area):  # every pixel of the area lies in the convex hull of the visible ones
        directions = np.stack([xs - x, ys - y], 1).astype(float)
        angles = np.sort(np.arctan2(directions[:, 1], directions[:, 0])[np.any(directions != 0, axis=1)])
        gap = np.max(np.diff(np.append(angles, angles[0] + 2 * np.pi))) if len(angles) else 0.0
        assert visible[y, x] or gap <= np.pi + 0.15


@given(seed=st.integers(0, 99), factor=st.sampled_from([2, 4, 8]))
def test_no_pixel_of_the_area_is_lost_on_latent_cells(seed, factor):
    area = (grid(2, 1, 16, 16, seed=seed) > 1.2).float()
    cells = latent_area(area, factor)
    assert set(cells.unique().tolist()) <= {0.0, 1.0}
    back = cells.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    assert (back >= area).all(), "a pixel was lost"
    assert all(
        area[b, :, r * factor : (r + 1) * factor, c * factor : (c + 1) * factor].any()
        for b, _, r, c in cells.nonzero().tolist()
    ), "a cell without any pixel"


def test_areas_of_the_readings():
    visible = np.zeros((32, 32), bool)
    visible[10:20, 8:12] = visible[16:20, 8:20] = True
    feasible = np.zeros_like(visible)
    feasible[:, 14:] = True
    feasible &= ~visible
    nothing = np.zeros_like(visible)
    hull = hull_area(visible)
    assert np.array_equal(inpainting_area(visible, feasible, nothing, Settings()), hull)
    assert np.array_equal(inpainting_area(visible, feasible, nothing, Settings().replace(area="visible")), visible)
    anchored = inpainting_area(
        visible, feasible, nothing, Settings().replace(reading="anchored", area="hull", area_growth=0.5)
    )
    assert (anchored >= (hull & ~visible)).all() and not (anchored & visible).any() and anchored.sum() > hull.sum()
    cut = inpainting_area(visible, feasible, nothing, Settings().replace(reading="anchored", area="feasible"))
    assert not cut[:, :12].any() and cut.any()
    edge = nothing.copy()
    edge[:, :8] = True
    beyond = inpainting_area(
        visible, feasible, edge, Settings().replace(reading="anchored", area="hull", area_growth=0.0)
    )
    assert not beyond[:, :8].any()
    beyond = inpainting_area(
        visible, feasible, edge, Settings().replace(reading="anchored", area="hull", area_growth=0.4)
    )
    assert beyond[12, 4], "the strip outside the frame within reach of V belongs to the area"
