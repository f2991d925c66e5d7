"""The documentation that all embedders share, written once."""

import inspect
import re
import sys
from string import Formatter

PARAMETERS = """\
n_components : int, default={n_components}
    Width of the embedding, at least 1; useful from 2 on, as rows of length one and
    width 1 are 1 or -1.
module : None, str, type or torch.nn.Module, default=None
    The network. None takes "mlp" for rows and "conv" for images. "conv" is a small
    residual network that adapts to their size; "linear" is a linear map; "features" is
    one for features that another network has computed (give it an ``n_components`` of
    256). "torchvision/NAME" and "timm/NAME", such as "torchvision/mobilenet_v2", are
    networks of these libraries (the extra ``vision``), with the mean and the maximum of
    their last feature maps, or else their own pooling, before a new head. The head of
    features that were learned elsewhere, and "features", begin with a discriminant
    analysis of up to 2,048 samples, and by ``module__start="principal"`` in
    ``net_params`` with their principal axes. ``module__weights`` names their pretrained
    weights: "DEFAULT", the latest, which is taken where it is not given; another name
    such as "IMAGENET1K_V1", or torchvision's enum member of that name; or None for
    random ones. They are downloaded once, to where the variables TORCH_HOME and HF_HOME
    say. Pretrained ones want images with values from 0 to 255, as uint8, or 0 to 1, as
    float, with three channels, or one that stands for three. A torch Module class is
    built with the ``module__*`` entries of ``net_params``, and is given
    ``n_components``, ``input_shape``, ``n_features`` (rows) and ``n_channels`` (images)
    where its constructor has arguments of these names. An instance is deep-copied. The
    network receives standardised inputs (for pretrained weights by their own mean and
    scale, for "features" as they are), float32 of shape (n, n_features) or (n,
    channels, height, width), and returns (n, n_components). Of its own, "mlp" has the
    arguments ``hidden`` (widths of the layers, default (512, 512)), ``dropout`` (0.2)
    and ``input_dropout`` (0.1); "conv" has ``widths`` (channels, (32, 64, 128)) and
    ``dropout`` (0.1); "features" has ``dropout`` (0.2), ``gain`` (30) and ``start``
    ("discriminant").
image_size : int or None, default={image_size}
    For files and datasets of images: the side of the square that the network sees, in
    pixels, from 8 to 2048. None takes 128, or 227 where ``module`` names a network of
    torchvision or timm. An image is scaled so that its shorter side is 256 / 227 of
    that, and the middle of the longer one is kept, in three channels of 8 bits: colours
    stay, grey becomes three equal channels, transparent pixels are laid on white, and
    photographs are turned as their EXIF orientation says. Arrays keep their size, and
    allow None only; :class:`sk_dml.datasets.ImageSequence` makes a dataset of them.
on_bad_image : {{"raise", "skip"}}, default={on_bad_image!r}
    What to do about files, or items of a dataset, that cannot be read as an image.
    "raise" stops with the path and the reason. "skip" leaves them out of :meth:`fit`,
    for which every image is read once before the first epoch, and gives them rows of
    NaN in :meth:`transform`; a warning counts and names them. The scorers of
    :mod:`sk_dml.scorers` leave these rows out, with a warning; metrics, searches and
    classifiers refuse them: take those with ``~np.isnan(embedding).any(axis=1)``.
augment : {{"auto", "affine", "crop"}}, callable or None, default={augment!r}
    How to change images at random, in training only. "affine" turns, scales, shears,
    shifts and slightly bends them, which suits glyphs; "crop" cuts parts out of them,
    resizes these, and mirrors half of them, which suits photographs. "auto" takes
    "affine" for grey images (with one channel, or three that are equal in sixteen of
    them), "crop" for others, and nothing for rows. A callable is given every batch, a
    tensor of shape (n, channels, height, width) with the values of X, on the device,
    and returns one of that shape and range of values, floats or uint8, which is
    checked: no scaling or normalisation. Let it draw from torch's global random
    numbers, which ``random_state`` seeds. Files and datasets come as uint8, and with
    256 / 227 of ``image_size`` on a side: it may return them so, or cut to
    ``image_size``. Transforms of torchvision draw once a call; a function makes them
    draw for every image: ``torch.stack([transform(image) for image in batch])``.
max_epochs : int, default={max_epochs}
    Passes over the training data.
lr : float, default={lr}
    Learning rate, above 0; the largest one under a schedule.
lr_schedule : {{"cosine", "onecycle", "step", "plateau"}} or None, \
        default={lr_schedule!r}
    "onecycle" raises the learning rates over the first 30 % of the steps and lowers
    them to almost nothing over the rest; "cosine" lowers them to nothing; "step" takes
    a tenth every 20 epochs; "plateau" does so when ``valid_score``, or the
    ``train_loss`` where there is none, has not improved for more than 5 epochs; None
    keeps them. ``net_params`` sets the details: ``lr_schedule__warmup`` (epochs in
    which the rates rise: 30 % of all for "onecycle", 0 for others),
    ``lr_schedule__step_size`` (epochs, 20) and ``lr_schedule__gamma`` (0.1) of "step",
    ``lr_schedule__patience`` (epochs, 5) and ``lr_schedule__factor`` (0.1) of
    "plateau".
batch_size : int or "auto", default={batch_size!r}
    Samples a batch, a multiple of ``samples_per_class``. "auto" takes an eighth of the
    samples, but no fewer than 32 (where there are so many) and no more than 128.
samples_per_class : int or None, default={samples_per_class}
    Samples of every class that a batch draws: its K, at most half a batch, with as many
    classes as there is room for. None shuffles the samples instead, which suits losses
    with proxies; losses that compare the samples of a batch need 2 or more.
optimizer : {{"adamw", "adam", "sgd", "rmsprop"}} or type, default={optimizer!r}
    A torch optimizer, by name or as a class.
weight_decay : float, default={weight_decay}
    Weight decay of the network's weights, at least 0; biases, norms and proxies are
    spared.
proxy_lr : float or None, default={proxy_lr}
    Learning rate of what the loss itself learns, such as proxies. None takes ten times
    ``lr``. A loss that learns nothing allows None only.
early_stopping : bool, default={early_stopping}
    Whether to hold samples out, score them after every epoch, stop where the score
    stands still, and go back to the weights of the best epoch. Where
    ``validation_fraction`` of the classes with two or more samples comes to five or
    more, so many classes are held out whole, and the score is one of classes never
    seen; otherwise that share of every class, but for classes that it would leave with
    fewer than two samples on either side. Samples given to :meth:`fit` as
    ``validation_data`` take the place of those held out; without ``early_stopping``
    they are scored, and nothing else. What is held out is not learned from, and a few
    classes or samples, soon told apart, choose the best epoch too early: the whole
    training with "onecycle" is often a little better, and takes longer.
validation_fraction : float, default={validation_fraction}
    Share of the classes, or of the samples, to hold out, in (0, 1).
n_iter_no_change : int or "auto", default={n_iter_no_change!r}
    After how many epochs in a row without progress to stop, at least 1. Epochs in which
    the learning rate still rises do not count: for "onecycle", the first 30 %. "auto"
    is 10; for "onecycle" and "cosine", whose low rates at the end often bring progress
    after a standstill, it is a quarter of ``max_epochs`` where that is more.
tol : float, default={tol}
    Progress is a score at least this much above the best so far, at least 0.
scoring : str or callable, default={scoring!r}
    What to score by: a retrieval metric of :func:`sk_dml.metrics.retrieval_scores`, or
    a callable ``scorer(estimator, X, y)`` that returns a number, larger for better,
    such as ``retrieval_scorer("map_at_r", n_classes=20, random_state=0)``; not a
    metric, such as ``map_at_r_score``, which takes an embedding. The fewer classes are
    held out, the higher the scores, and the less they say of many.
backbone_lr : float or None, default={backbone_lr}
    Learning rate of all of the network but its head, for pretrained networks. The head
    is the submodule named ``head`` or, without one, the last layer that has parameters.
    None takes ``lr``, or for pretrained weights that ``module`` names a tenth of it; 0
    freezes: weights and statistics stay, and no dropout, but for layers to which
    ``optimizer__param_groups`` gives a rate. To freeze random weights is warned of.
precision : {{"float32", "bfloat16", "float16"}}, default={precision!r}
    What the network computes in during training. The halves are faster and smaller on
    many GPUs; weights, proxies and the loss stay float32, and so does ``transform``. In
    "float16", steps whose gradients overflow are skipped; many are warned of.
micro_batch_size : int or None, default={micro_batch_size}
    Samples that go through the network at once during training, at least 2. Batches
    larger than that are gone through twice in pieces, for the memory of a piece: the
    step is that of the whole batch, but that batch norms see the pieces alone. None
    takes the batch whole.
device : str or torch.device, default={device!r}
    Where to compute. "auto" takes CUDA or MPS where there is one, the CPU otherwise.
random_state : int, RandomState instance or None, default={random_state}
    Seeds the weights, the batches and dropout. An int gives the same embedding to the
    bit on the same CPU.
verbose : int, default={verbose}
    1 draws a progress bar in terminals (on the standard error) and notebooks, and
    nothing in pipes and in the worker processes of a search. 2 or more prints a line an
    epoch to the standard output, wherever that leads. A training that goes on from a
    checkpoint, or is only loaded, says so first.
warm_start : bool, default={warm_start}
    Whether :meth:`fit` goes on from the network and the proxies of the fit before, for
    ``max_epochs`` more, with a new optimizer and schedule. ``n_iter_`` and
    ``history_`` go on too. The classes must be the same, or fewer, unless the loss
    learns nothing for each class.
checkpoint_dir : str, path-like or None, default={checkpoint_dir}
    A directory of this fit alone, which then holds its latest epoch, in
    ``checkpoint.safetensors``, and a file to lock: another fit meanwhile is refused. A
    fit that was killed or interrupted and is called again, with the same data and
    parameters, goes on from there, and ends with the weights that it would have had: to
    the bit on the CPU. One that had come to its end is only loaded. A checkpoint of
    other data or parameters is refused, but for a larger ``max_epochs`` where no epoch
    depends on it: with ``lr_schedule`` None, "step" or "plateau", and no
    ``memory_warm_up``. A warm start is another fit, and needs another directory.
    Callbacks are saved if they have ``state_dict`` and ``load_state_dict``.
callbacks : list of skorch callbacks or None, default={callbacks}
    Called by the skorch net during training. Callbacks of scikit-learn go to
    :meth:`set_callbacks` instead. They find ``valid_score`` in its history, if there is
    validation, and no validation loss: monitor the score, the larger the better. Those
    that move the learning rates want ``lr_schedule=None``. Skorch's ``EpochScoring``
    takes ``on_train=True`` only, and scores the net: it finds no samples to validate,
    and ``scoring`` says what to score by. A callback of skorch stops the fit by raising
    KeyboardInterrupt in its ``on_epoch_end`` (elsewhere this interrupts the fit, as
    Ctrl-C does), one of scikit-learn where its ``on_fit_task_end`` returns True. To
    stop early by the ``train_loss`` misleads: under a schedule it falls late, and the
    mean over the terms that are not zero need not fall at all.
net_params : dict or None, default={net_params}
    More settings of the skorch net and what it holds: ``module__*`` (say
    ``module__hidden``), ``optimizer__*``, ``iterator_train__*``, ``iterator_valid__*``,
    ``callbacks__*``, ``lr_schedule__*``, ``compile=True``, which compiles the network
    for training (seconds to a minute at first), and ``compile__*``;
    ``gradient_clip_value``, the largest norm of all gradients together, with
    ``gradient_clip_norm_type`` (2); ``freeze_batch_norm=True``, which keeps the weights
    and statistics of batch norms, as is the default where ``module`` names pretrained
    weights. ``optimizer__param_groups``, such as
    ``[("layer1*", {{"lr": 1e-4}})]``, sets ``lr``, ``weight_decay`` and more for the
    parameters with such names in the module's own ``named_parameters()``; ``lr=0``
    freezes them. Of several patterns that match, the first decides. Files of images are
    read ahead by threads, as many as torch uses and at most 8; instead,
    ``iterator_train__num_workers`` and ``iterator_valid__num_workers`` take worker
    processes, or with 0 nobody else, and ``iterator_train__prefetch_factor`` says how
    many batches are read ahead (by each worker). What is learned is the same. All these
    entries are parameters of the embedder too: ``set_params(module__hidden=(512,))``
    and grids may name them."""

MEMORY_PARAMETERS = """
memory_size : int, default={memory_size}
    Cross-batch memory: how many of the latest embeddings each batch is compared with,
    besides itself [m]_. 0 is off. It finds harder negatives where batches are small and
    classes many.
memory_warm_up : float, default={memory_warm_up}
    Share of the training before the memory takes part, in [0, 1). While the network
    still moves fast, its earlier embeddings mislead it. Where the memory begins,
    ``loss_curve_`` jumps, as the comparison with the memory adds to the loss."""

MEMORY_REFERENCE = """\
.. [m] X. Wang, H. Zhang, W. Huang, M. R. Scott. "Cross-Batch Memory for Embedding
       Learning". CVPR 2020."""

RANK_REFERENCE = """\
.. [r] O. Roy, M. Vetterli. "The Effective Rank: A Measure of Effective Dimensionality".
       EUSIPCO 2007."""

ATTRIBUTES = """\
net_ : EmbeddingNet
    The trained skorch net.
classes_ : ndarray of shape (n_classes,)
    The labels learned from in :meth:`fit`, sorted. Those of classes held out are not
    among them.
n_features_in_ : int
    Number of features seen in :meth:`fit`; for images, of values of one image.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the features, if X had column names that are all strings.
image_size_ : int or None
    The side of the square that the network sees of files and datasets of images; None
    if X was something else.
bad_images_ : list of tuple (str or int, str)
    With ``on_bad_image="skip"``, the files (or places in the dataset) that training
    left out, and why; also those of ``validation_data``.
n_iter_ : int
    Number of epochs trained.
history_ : list of dict
    A row for every epoch: ``epoch``, from 1; ``train_loss``, the mean over the samples;
    ``lr``, the learning rate at its end; and ``duration`` in seconds. With validation,
    ``valid_score``. Of its last batch: ``active_share``, the share of its pairs, of its
    triplets or of those mined that take part in the loss, for losses that leave some
    out; ``mean_similarity``, the mean cosine of samples of different classes, near 1
    where the embedding collapses; ``effective_rank``, the number of dimensions in use
    [r]_; and ``gradient_norm``, of the network's weights, before clipping. With
    ``precision="float16"``, ``skipped_steps``, the number of its steps whose gradients
    overflowed.
best_score_ : float or None
    The highest ``valid_score`` of the last fit: a warm start begins anew, as its
    samples or its ``scoring`` may be others. None without validation.
best_epoch_ : int or None
    The epoch that first had it, as ``history_`` numbers them, whose weights
    ``early_stopping`` restores; None without validation.
loss_curve_ : list of float
    The ``train_loss`` of every epoch.
device_ : torch.device
    Where the network was trained and computes."""


def add_shared_documentation(embedder):
    """Complete the docstring of an embedder.

    Adds the parameters and attributes that all embedders have, and from the loss in the
    same module its formula, as Notes, and its References.

    Parameters
    ----------
    embedder : type
        An embedder whose docstring documents its own parameters under "Parameters".
        The defaults that it changes are read from its class attributes.
    """
    if embedder.__doc__ is None:  # python -OO
        return
    own = _sections(embedder)
    embedder._own_sections = own.copy()
    # A variant of a method has the parameters and the formula of the method too.
    methods = [c for c in embedder.__mro__[::-1] if "_own_sections" in vars(c)]

    def collected(title, shared):
        return "\n".join([shared, *(c._own_sections.get(title, "") for c in methods)])

    found = filter(None, map(_loss_sections, methods[::-1]))
    formula: dict[str, str] = next(found, {})
    head = [own.pop("Summary"), own.pop("Extended")]
    has_memory = hasattr(embedder, "memory_size")
    template = PARAMETERS + (MEMORY_PARAMETERS if has_memory else "")
    fields = [name for _, name, _, _ in Formatter().parse(template) if name]
    shared = template.format(**{name: getattr(embedder, name) for name in fields})
    references = [formula.get("References"), own.get("References")]
    if has_memory:
        references.append(MEMORY_REFERENCE)
    references.append(RANK_REFERENCE)
    sections = {
        "Parameters": collected("Parameters", shared),
        "Attributes": collected("Attributes", ATTRIBUTES),
        "See Also": own.get("See Also", ""),
        "Notes": f"{formula.get('Extended', '')}\n\n{own.get('Notes', '')}",
        "References": "\n".join(filter(None, references)),
    }
    sections |= {title: text for title, text in own.items() if title not in sections}
    parts = head + [
        f"{title}\n{'-' * len(title)}\n{text.strip()}"
        for title, text in sections.items()
        if text.strip()
    ]
    embedder.__doc__ = "\n\n".join(part for part in parts if part) + "\n"


def _loss_sections(embedder):
    name = embedder.__name__.removesuffix("Embedder") + "Loss"
    loss = getattr(sys.modules.get(embedder.__module__), name, None)
    return loss and _sections(loss)


def _sections(documented):
    """Split a docstring at its headings."""
    text = inspect.cleandoc(getattr(documented, "__doc__", None) or "")
    first, *rest = re.split(r"^(\w[\w ]*)\n-+\n", text, flags=re.MULTILINE)
    summary, _, extended = first.partition("\n")
    titles, texts = rest[::2], (text.strip("\n") for text in rest[1::2])
    return {
        "Summary": summary,
        "Extended": extended.strip(),
        **dict(zip(titles, texts, strict=True)),
    }
