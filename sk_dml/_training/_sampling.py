"""Which samples make up the batches of an epoch."""

import math

import numpy as np


class ShuffledBatches:
    """Every sample once an epoch, in batches whose sizes differ by at most one.

    Parameters
    ----------
    n_samples : int
        Number of samples, at least 1.
    batch_size : int
        Largest batch.
    rng : numpy.random.Generator
        Source of the order; drawn from anew each epoch.
    """

    def __init__(self, n_samples, batch_size, rng):
        self.n_samples = n_samples
        self.n_batches = math.ceil(n_samples / batch_size)
        self.rng = rng

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        # Even sizes: a last batch of one or two rows would upset batch statistics.
        yield from np.array_split(self.rng.permutation(self.n_samples), self.n_batches)


class ClassBatches:
    """P x K batches: P classes with K samples of each, every class equally often.

    Every batch has ``batch_size`` samples and every class is drawn every epoch. A batch
    holds as many different classes as it has room for; if there are fewer classes than
    that, each fills several of the P places. A sample comes twice into a batch only if
    its class has fewer samples than the batch takes of it.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,), integer
        The classes, 0 .. n_classes - 1, none of them empty.
    batch_size : int
        P x K, a multiple of ``samples_per_class``.
    samples_per_class : int
        K.
    rng : numpy.random.Generator
        Source of the order; drawn from anew each epoch.
    """

    def __init__(self, labels, batch_size, samples_per_class, rng):
        self.labels = labels
        self.samples_per_class = samples_per_class
        self.rng = rng
        self.class_sizes = np.bincount(labels)
        n_classes = len(self.class_sizes)
        self.places = batch_size // samples_per_class
        self.n_batches = max(
            math.ceil(len(labels) / batch_size), math.ceil(n_classes / self.places)
        )

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        return iter(self._epoch())

    def _epoch(self):
        n_classes = len(self.class_sizes)
        n_places = self.n_batches * self.places
        draws = np.full(n_classes, n_places // n_classes)
        draws[self.rng.permutation(n_classes)[: n_places % n_classes]] += 1
        # Deal the classes to the batches like cards, one class after another: the
        # places of a class fall into different batches as long as there are any.
        order = self.rng.permutation(n_classes)
        place_class = np.repeat(order, draws[order])
        place_batch = np.arange(n_places) % self.n_batches
        # Batch after batch, each class hands out its shuffled samples in turn.
        by_batch = np.argsort(place_batch, kind="stable")
        place_class = place_class[by_batch]
        by_class = np.argsort(place_class, kind="stable")
        turn = np.empty(n_places, dtype=np.int64)
        turn[by_class] = np.arange(n_places) - np.repeat(_starts(draws), draws)
        shuffled = self.rng.permutation(len(self.labels))
        shuffled = shuffled[np.argsort(self.labels[shuffled], kind="stable")]
        k = self.samples_per_class
        within = turn[:, None] * k + np.arange(k)
        within %= self.class_sizes[place_class][:, None]
        samples = shuffled[_starts(self.class_sizes)[place_class][:, None] + within]
        batches = samples.reshape(self.n_batches, -1)
        return batches[self.rng.permutation(self.n_batches)]


def _starts(sizes):
    return np.cumsum(sizes) - sizes
