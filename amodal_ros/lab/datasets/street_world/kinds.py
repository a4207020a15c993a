"""Which kinds of object there are, and how each is built."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from amodal_ros.lab.datasets.street_world import cars, furniture, large_vehicles, people, unseen, unseen_furniture
from amodal_ros.lab.datasets.street_world.shape import Shape

VEHICLES = {"car": cars.car, "van": large_vehicles.van, "truck": large_vehicles.truck, "bus": large_vehicles.bus}
WALKERS = {"cyclist": people.cyclist, "pedestrian": people.pedestrian}
FURNITURE = {"pole": furniture.pole, "tree": furniture.tree, "sign": furniture.sign, "fence": furniture.fence}

UNSEEN_VEHICLES = {
    "motorbike": unseen.motorbike,
    "tram": unseen.tram,
    "tractor": unseen.tractor,
    "pickup": unseen.pickup,
    "camper": unseen.camper,
}
UNSEEN_WALKERS = {"scooter": unseen.scooter, "dog": unseen.dog, "pushchair": unseen.pushchair}
UNSEEN_FURNITURE = {
    "column": unseen_furniture.column,
    "bin": unseen_furniture.bin_,
    "conifer": unseen_furniture.conifer,
    "planter": unseen_furniture.planter,
}

BUILDERS = VEHICLES | WALKERS | FURNITURE | UNSEEN_VEHICLES | UNSEEN_WALKERS | UNSEEN_FURNITURE
LABELLED = frozenset(VEHICLES | WALKERS | UNSEEN_VEHICLES | UNSEEN_WALKERS)
MOVING_LEGS = frozenset({"pedestrian", "cyclist"})


@lru_cache(maxsize=256)
def build(kind: str, seed: int, phase: float | None = None) -> Shape:
    """The shape of an object; `phase` (radians) moves the legs of those that have some."""
    rng = np.random.Generator(np.random.PCG64([seed, 7]))
    return WALKERS[kind](rng, phase) if kind in MOVING_LEGS else BUILDERS[kind](rng)
