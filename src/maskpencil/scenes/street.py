"""Build a street with its houses, trees, cars and people at any moment of a drive."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from maskpencil.scenes.facets import Facets, Floats, Outlines, Placement, join_placements
from maskpencil.scenes.roadside import (
    DESIGNS,
    SEASONS,
    TREES,
    WALLS,
    garden_wall_model,
    hedge_model,
    house_model,
    house_width,
    tree_model,
)
from maskpencil.scenes.traffic import PAINTS, SHAPES, Person, Walker, car_model, people_facets, some_person
from maskpencil.scenes.weather import Weather, some_weather

VIEW = 130.0  # meters: the viewing distance
PEOPLE_VIEW = 80.0
BLOCK = 45.0  # meters: the length of a block, which may begin with a side street
# The positions, in a block with a side street, of the zebra crossing and the side street, and of the first house.
ZEBRA = (0.8, 4.3)
SIDE_STREET = (6.0, 14.0)
CORNER = 17.0


@dataclass(frozen=True)
class Layout:
    """The widths of the parts of one street in meters; its left and right sides have the same widths."""

    lane: float
    parking: float
    pavement: float
    edge_line: bool

    @property
    def road(self) -> float:
        """Half the width of the road, from its center line to the curb."""
        return self.lane + self.parking

    @property
    def front(self) -> float:
        """The distance from the center line of the street to the facades."""
        return self.road + self.pavement


@dataclass(frozen=True)
class Look:
    """The weather and the colors of one street."""

    weather: Weather
    asphalt: Floats
    slabs: Floats
    leaves: tuple[Floats, ...]


@dataclass(frozen=True)
class Moment:
    """The street at one time.

    The position of the camera, in meters, is `along` the street, `right` of its center line, and `height` above the
    road.
    """

    time: float
    right: float
    height: float
    along: float
    bend: float  # 1 / meters: at a distance ahead, the street deviates from a straight line by bend * distance^2 / 2
    heading: float  # radians by which the street has turned since its start
    yaw: float  # radians by which the camera looks to the left of the street
    pitch: float  # radians by which the camera looks up
    layout: Layout
    look: Look
    facets: Facets
    casters: Outlines
    crossings: tuple[float, ...]  # the beginnings of blocks with a side street


@dataclass(frozen=True)
class _Block:
    facets: Facets
    casters: Outlines
    crossing: bool  # whether it begins with a side street
    crosser: Person | None  # the person on the zebra crossing


class Street:
    """An endless street, the same for the same seed.

    Each block, car and person is drawn at random from its own seed, so that any part of the street can be built without
    the other parts.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        rng = self._rng(0)
        wide = bool(rng.random() < 0.5)
        self.layout = Layout(
            lane=rng.uniform(3.1, 3.5),
            parking=rng.uniform(2.1, 2.3) if wide else 0.35,
            pavement=rng.uniform(3.2, 4.2) if wide else rng.uniform(3.8, 5.2),
            edge_line=bool(rng.random() < 0.5),
        )
        self._speed = rng.uniform(7.0, 9.0)  # meters per second
        self._start = rng.uniform(0, BLOCK)
        self._bend, self._bend_length, self._bend_phase = rng.uniform((0.002, 45, 0), (0.008, 80, 2 * np.pi)).tolist()
        self._yaw, self._pitch, self._height = rng.normal(0, 0.02), rng.normal(0, 0.012), rng.uniform(1.5, 1.75)
        self._tree_step, self._tree_chance = rng.uniform(9, 14), rng.uniform(0.5, 1.0)
        self._parked = rng.uniform(0.3, 0.75) * wide  # the share of parking spaces that are taken
        self._ahead = rng.uniform(11, 28) if rng.random() < 0.6 else None  # meters to a car in the same lane
        self._traffic_gap = rng.uniform(22, 45)
        # Side of the street, direction, meters between two walkers, meters per second.
        self._walkers = [(side, way, *rng.uniform((7, 1.0), (16, 1.5))) for side in (-1, 1) for way in (-1, 1)]
        season = SEASONS[rng.choice(len(SEASONS), p=[0.3, 0.4, 0.2, 0.1])]

        tint = self._rng(1)
        self._look = Look(
            weather=some_weather(tint),
            asphalt=tint.uniform(0.34, 0.46) + tint.normal(0, 0.006, 3),
            slabs=np.array([0.74, 0.71, 0.67]) * tint.uniform(0.9, 1.08) + tint.normal(0, 0.01, 3),
            leaves=season,
        )
        self._block = lru_cache(maxsize=8)(self._build_block)

    def moment(self, time: float) -> Moment:
        """Return the street `time` seconds after the drive began."""
        along = self._start + self._speed * time
        right = self.layout.lane / 2 + 0.08 * np.sin(0.9 * time)
        turn = along / self._bend_length + self._bend_phase
        numbers = range(int(along // BLOCK), int((along + VIEW) // BLOCK) + 1)
        blocks = {number: self._block(number) for number in numbers}
        parts = [(block.facets, block.casters) for block in blocks.values()]
        parts.append(join_placements(list(self._traffic(along, time))))
        walkers = [*self._walking(along, time)]
        walkers += [self._crossing(block.crosser, n * BLOCK, along) for n, block in blocks.items() if block.crosser]
        if walkers:
            parts.append(people_facets(walkers))
        return Moment(
            time=time,
            right=right,
            height=self._height,
            along=along,
            bend=self._bend * float(np.sin(turn)),
            heading=-self._bend * self._bend_length * float(np.cos(turn)),
            yaw=self._yaw + 0.006 * float(np.sin(0.7 * time)),
            pitch=self._pitch + 0.0012 * float(np.sin(5.1 * time)) + 0.0008 * float(np.sin(8.3 * time)),
            layout=self.layout,
            look=self._look,
            facets=Facets.joined([facets for facets, _ in parts]),
            casters=Outlines.together([casters for _, casters in parts]),
            crossings=tuple(number * BLOCK for number, block in blocks.items() if block.crossing),
        )

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *(part % 2**32 for part in key)])

    def _build_block(self, number: int) -> _Block:
        rng = self._rng(2, number)
        crossing = bool(rng.random() < 0.5)
        placements = [p for side in (-1, 1) for p in self._build_side(rng, side, number * BLOCK, crossing)]
        crosser = some_person(rng) if crossing and rng.random() < 0.85 else None
        return _Block(*join_placements(placements), crossing, crosser)

    def _build_side(self, rng: np.random.Generator, side: int, begin: float, crossing: bool) -> Iterator[Placement]:
        layout, end = self.layout, begin + BLOCK

        def tree(apart: float, along: float) -> Placement:
            leaf = self._look.leaves[rng.integers(len(self._look.leaves))] * rng.uniform(0.9, 1.1)
            return Placement(tree_model(int(rng.integers(TREES))), side * apart, along, leaf)

        start = begin + CORNER if crossing else begin
        first = start + (0 if crossing or rng.random() < 0.4 else rng.uniform(4, 7))
        if first > start:
            yield tree(layout.front + 3, (start + first) / 2)
            wall = WALLS[rng.integers(len(WALLS))]
            yield Placement(garden_wall_model(side), side * layout.front, start, wall, stretch=first - start)
        if crossing:
            yield tree(layout.front + 15, begin + 16)
        if rng.random() < 0.13:  # a park
            for along in np.arange(first + 2, end, 5.5):
                yield tree(layout.front + rng.uniform(2, 3), along)
                yield tree(layout.front + rng.uniform(6, 9), along + rng.uniform(0, 3))
            pieces = round((end - first) / 6)
            for i, along in enumerate(np.linspace(first, end, pieces + 1)[:-1]):
                stretch = (end - first) / pieces / 6
                yield Placement(hedge_model(i % 8), side * layout.front, along, self._look.leaves[0], stretch)
        else:
            designs = rng.integers(DESIGNS, size=round((end - first) / 7.2)).tolist()
            stretch = (end - first) / sum(map(house_width, designs))
            along = first
            for i, design in enumerate(designs):
                model = house_model(design, side, corner=crossing and i == 0)
                wall = np.clip(WALLS[rng.integers(len(WALLS))] + rng.uniform(-0.03, 0.03), 0, 1)
                yield Placement(model, side * layout.front, along, wall, stretch)
                along += house_width(design) * stretch
        for along in np.arange(start + 2.5, end - 1, self._tree_step):
            if rng.random() < self._tree_chance:
                yield tree(layout.road + 0.75, along)
        for along in np.arange(start + 1.0, end - 5.5, 6.2):
            if rng.random() < self._parked:
                apart = layout.road - 1.05 + rng.uniform(-0.08, 0.08)
                yield self._car(rng, side * apart, along + rng.uniform(0, 0.9), oncoming=side < 0)

    def _car(self, rng: np.random.Generator, right: float, along: float, *, oncoming: bool) -> Placement:
        shape = int(rng.choice(len(SHAPES), p=[0.4, 0.27, 0.22, 0.11]))
        model = car_model(shape, oncoming=oncoming, left_side=right > self.layout.lane / 2)
        return Placement(model, right, along, PAINTS[rng.integers(len(PAINTS))])

    def _traffic(self, along: float, time: float) -> Iterator[Placement]:
        if self._ahead is not None:
            away = self._ahead + 1.5 * float(np.sin(0.4 * time))
            yield self._car(self._rng(3), self.layout.lane / 2 + 0.1, along + away, oncoming=False)
        driven, gap = self._speed * time, self._traffic_gap
        for number in range(int((along + driven) // gap) - 1, int((along + driven + VIEW) // gap) + 1):
            rng = self._rng(4, number)
            ahead = (number + rng.uniform(0, 0.6)) * gap - driven
            yield self._car(rng, -self.layout.lane / 2 + rng.uniform(-0.1, 0.2), ahead, oncoming=True)

    def _walking(self, along: float, time: float) -> Iterator[Walker]:
        for stream, (side, way, gap, pace) in enumerate(self._walkers):
            walked = pace * time
            origin = along - way * walked
            for number in range(int(origin // gap) - 1, int((origin + PEOPLE_VIEW) // gap) + 1):
                rng = self._rng(5, stream, number)
                place = (number + rng.uniform(0, 1)) * gap + way * walked
                if not 0 < place - along < PEOPLE_VIEW:
                    continue
                apart = rng.uniform(1.3, 1.5) if way > 0 else self.layout.pavement - rng.uniform(0.5, 0.8)
                for companion in range(1 + int(rng.random() < 0.3)):
                    right = side * (self.layout.road + apart + 0.6 * companion * way)
                    across, distance = 0.35 * way * side, place + 0.2 * companion
                    yield Walker(some_person(rng), right, distance, walked, across, away=way > 0)

    def _crossing(self, person: Person, begin: float, along: float) -> Walker:
        """Place a person on the zebra crossing so that the person leaves the camera's lane before a car arrives.

        `begin` is the beginning of the block and `along` the position of the camera, in meters along the street.
        """
        place = begin + sum(ZEBRA) / 2
        near = 13.0 if self._ahead is None else self._ahead + 6
        far, pace = near + 45, 0.19  # meters walked for every meter that the camera approaches
        walked = pace * (far - min(max(place - along, near), far))
        right = self.layout.road + 1.2 - pace * (far - near) + walked
        return Walker(person, right, place, walked, across=1.0, away=False)
