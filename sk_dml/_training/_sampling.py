"""Sampling of the batches of an epoch."""

import math

import numpy as np

# Small data need small batches to get enough steps from an epoch.
SMALLEST_AUTO, LARGEST_AUTO, AUTO_BATCHES = 32, 128, 8


class ShuffledBatches:
    """Batches of an epoch that hold every sample once, as even in size as possible.

    ``batch_size``, at least 2, is the largest; one more where a sample would be alone.
    """

    def __init__(self, n_samples, batch_size, rng):
        self.n_samples = n_samples
        self.n_batches = max(1, min(math.ceil(n_samples / batch_size), n_samples // 2))
        self.rng = rng

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        # Even sizes: a last batch of a few rows would upset batch statistics.
        yield from np.array_split(self.rng.permutation(self.n_samples), self.n_batches)


# How P x K dealing works. A batch has P slots, each of which holds K samples of one
# class. All slots of an epoch are filled at once, in two steps, without a loop.
#
# 1. Classes to slots. There are B batches, B x P slots, and C classes. Every class gets
#    B P // C slots, and a random choice of them one more, so that all are filled. The
#    classes are shuffled, and each is repeated as often as it has slots:
#
#        P = 2, B = 4, classes in the order c a b:    c c c a a a b b
#
#    Like cards, these are dealt to the batches in turn: slot i goes to batch i mod B.
#    So the slots of one class fall into different batches, as long as there are any:
#
#        batch 0: c a    batch 1: c a    batch 2: c b    batch 3: a b
#
# 2. Samples to slots. Every class shuffles its samples once an epoch. Its first slot
#    (batch after batch) takes the first K of them, its second the next K, and so on,
#    around the end. So the samples of a batch are different where the class has enough
#    of them, and samples that one epoch leaves out are drawn in others.
#
# Finally the batches are shuffled: those dealt first hold the classes dealt first.


class ClassBatches:
    """P x K batches: P classes with K samples of each, every class equally often.

    Every batch has ``batch_size`` samples and every class is drawn every epoch. A batch
    holds as many different classes as it has room for; if there are fewer classes than
    that, each fills several of the P slots. A sample comes twice into a batch only if
    its class has fewer samples than the batch takes of it.

    ``labels`` has the shape (n_samples,) and holds each of 0 .. n_classes - 1;
    ``batch_size`` is P x K, a multiple of K, which is ``samples_per_class``.
    """

    def __init__(self, labels, batch_size, samples_per_class, rng):
        self.labels = labels
        self.samples_per_class = samples_per_class
        self.rng = rng
        self.class_sizes = np.bincount(labels)
        self.n_slots = batch_size // samples_per_class  # P
        self.n_batches = max(
            math.ceil(len(labels) / batch_size),
            math.ceil(len(self.class_sizes) / self.n_slots),
        )

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        # Drawn with the first batch: a DataLoader with workers begins twice.
        n_classes = len(self.class_sizes)
        n_slots = self.n_batches * self.n_slots
        slots_of_class = np.full(n_classes, n_slots // n_classes)
        slots_of_class[self.rng.permutation(n_classes)[: n_slots % n_classes]] += 1
        order = self.rng.permutation(n_classes)
        slot_class = np.repeat(order, slots_of_class[order])
        slot_batch = np.arange(n_slots) % self.n_batches
        by_batch = np.argsort(slot_batch, kind="stable")
        slot_class = slot_class[by_batch]
        # How many slots the class of each slot has filled before, in this epoch.
        by_class = np.argsort(slot_class, kind="stable")
        turn = np.empty(n_slots, dtype=np.int64)
        turn[by_class] = np.arange(n_slots) - np.repeat(
            np.cumsum(slots_of_class) - slots_of_class, slots_of_class
        )
        shuffled = self.rng.permutation(len(self.labels))
        shuffled = shuffled[np.argsort(self.labels[shuffled], kind="stable")]
        k = self.samples_per_class
        within = turn[:, None] * k + np.arange(k)
        within %= self.class_sizes[slot_class][:, None]
        first = np.cumsum(self.class_sizes) - self.class_sizes  # sample of each class
        samples = shuffled[first[slot_class][:, None] + within]
        batches = samples.reshape(self.n_batches, -1)
        yield from batches[self.rng.permutation(self.n_batches)]


def check_batch_size(embedder, classes, targets):
    """Return the samples of a batch; refuse classes of which none can be drawn.

    ``classes`` are the labels, of shape (n_classes,); ``targets`` are indices into
    them, of shape (n_samples,).
    """
    sizes = np.bincount(targets)
    name = type(embedder).__name__
    per_class, batch_size = embedder.samples_per_class, embedder.batch_size
    if len(classes) < 2:
        raise ValueError(
            f"y holds 1 class ({classes.tolist()[0]!r}); {name} needs at least 2 "
            "classes."
        )
    if embedder._compares_samples:
        if per_class is None or per_class < 2:
            raise ValueError(
                f"samples_per_class={per_class} leaves samples without another of "
                f"their class to compare with; {name} needs 2 or more."
            )
        if sizes.min() < 2:
            alone = classes[sizes == 1].tolist()
            raise ValueError(
                f"{len(alone)} of the {len(classes)} classes in y have 1 sample (for "
                f"example {alone[0]!r}); {name} needs at least 2 of each. Leave these "
                "classes out, or choose a method that learns proxies, such as "
                "NormalizedSoftmaxEmbedder."
            )
    n_samples, unit = len(targets), per_class or 1
    if batch_size == "auto":
        most = min(max(n_samples, SMALLEST_AUTO), LARGEST_AUTO)
        if per_class and 2 * unit > most:
            raise ValueError(
                f"samples_per_class={unit} leaves room for one class in the batches of "
                f"batch_size='auto', which hold at most {most} of {n_samples} samples. "
                f"Give at most {most // 2}, or a batch_size of {2 * unit} or more."
            )
        size = min(max(n_samples // AUTO_BATCHES, SMALLEST_AUTO), LARGEST_AUTO)
        size = min(size, n_samples) // unit * unit
        batch_size = max(size, 2 * unit if per_class else 1)
    elif batch_size > n_samples:
        raise ValueError(
            f"batch_size={batch_size} is larger than the number of samples to "
            f"learn from, n_samples={n_samples}; give at most that, or 'auto'."
        )
    elif per_class and (batch_size % unit or batch_size < 2 * unit):
        raise ValueError(
            f"batch_size={batch_size} must be a multiple of samples_per_class={unit} "
            f"and hold at least 2 classes: {2 * unit}, {3 * unit}, ..."
        )
    pieces = embedder.micro_batch_size
    if pieces is not None and pieces > batch_size:
        raise ValueError(
            f"micro_batch_size={pieces} is larger than the batches of {batch_size} "
            "samples that it splits. Allowed are at most that, and None."
        )
    return batch_size
