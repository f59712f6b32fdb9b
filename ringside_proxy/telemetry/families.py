"""Metrics with labels; counters and histograms that cost the event loop next to nothing."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final, Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

LABEL_SETS_MAX: Final = 300
LABEL_CHARS_MAX: Final = 128
OTHER: Final = "other"

M = TypeVar("M")


M_co = TypeVar("M_co", covariant=True)


class Labelled(Protocol[M_co]):
    """A metric with labels, as `Family` needs it."""

    def labels(self, *values: str) -> M_co:
        """The child for these label values."""


class Count:
    """One counter's sum. prometheus_client's own takes a lock for each of the ten of a request; here
    it is an addition on the event loop.
    """

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0

    def inc(self, amount: int = 1) -> None:
        """Count."""
        self.total += amount


class Counter(Collector):
    """A counter, with or without labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        label_names: tuple[str, ...] = (),
        *,
        namespace: str,
        registry: CollectorRegistry,
    ) -> None:
        self._name, self._documentation = f"{namespace}_{name}", documentation
        self._label_names = label_names
        self._children: dict[tuple[str, ...], Count] = {}
        self.inc = self.labels().inc if not label_names else self._refuse
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """The child for these label values."""
        return self._children.setdefault(values, Count())

    def collect(self) -> Iterator[Metric]:
        """What a scrape is told."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._label_names)
        for values, child in list(self._children.items()):
            family.add_metric(values, child.total)
        yield family

    def _refuse(self, amount: int = 1) -> None:
        raise TypeError(f"{self._name} has labels")


class Buckets:
    """One histogram's counts. prometheus_client's own walks all buckets under locks, seven times
    for each request; here an observation is a search and two additions on the event loop.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Histogram(Collector):
    """A histogram, with or without labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        label_names: tuple[str, ...] = (),
        *,
        buckets: tuple[float, ...],
        namespace: str,
        registry: CollectorRegistry,
    ) -> None:
        self._name, self._documentation = f"{namespace}_{name}", documentation
        self._label_names, self._bounds = label_names, buckets
        self._children: dict[tuple[str, ...], Buckets] = {}
        self.observe = self.labels().observe if not label_names else self._refuse
        registry.register(self)

    def labels(self, *values: str) -> Buckets:
        """The child for these label values."""
        return self._children.setdefault(values, Buckets(self._bounds))

    def collect(self) -> Iterator[Metric]:
        """What a scrape is told."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._label_names)
        for values, child in list(self._children.items()):
            below = list(accumulate(child.counts))
            bounds = [*map(floatToGoString, self._bounds), "+Inf"]
            family.add_metric(values, list(zip(bounds, below, strict=True)), child.total)
        yield family

    def _refuse(self, value: float) -> None:
        raise TypeError(f"{self._name} has labels")


class Family(Generic[M]):
    """A metric with labels. A label set is bound once; then finding it is one dictionary lookup.

    The label at `open_index` takes values that are not known beforehand: once there are
    LABEL_SETS_MAX sets, its new values all become `other`.
    """

    def __init__(self, metric: Labelled[M], open_index: int) -> None:
        self._metric = metric
        self._open_index = open_index
        self._children: dict[tuple[str, ...], M] = {}

    def of(self, *values: str) -> M:
        """The child for these label values, in the order of the metric's labels."""
        child = self._children.get(values)
        return child if child is not None else self._bind(values)

    def begin_at_zero(self, values: Iterable[str]) -> None:
        """Show these values of the only label from the start: what was never shown as 0 is no
        increase for Prometheus when it first happens.
        """
        for value in values:
            self.of(value)

    def _bind(self, values: tuple[str, ...]) -> M:
        kept = [value[:LABEL_CHARS_MAX] for value in values]
        if tuple(kept) not in self._children and len(self._children) >= LABEL_SETS_MAX:
            kept[self._open_index] = OTHER
        return self._children.setdefault(tuple(kept), self._metric.labels(*kept))
