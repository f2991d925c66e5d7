"""Documentation of what all embedders share, written once."""

import inspect
import re
from dataclasses import fields

NETWORK = """\
n_components : int, default={n_components}
    Number of dimensions of the embedding, at least 1. Use 2 or more: with 1, every row
    of the embedding is 1 or -1, as rows have length one.
module : None, str, type or torch.nn.Module, default=None
    The network.

    - None uses "mlp" for rows and "conv" for images.
    - "mlp" is a multilayer perceptron. Its arguments are ``hidden`` (widths of the
      layers, default (512, 512)), ``dropout`` (0.2) and ``input_dropout`` (0.1).
    - "conv" is a small residual network that adapts to the size of the images. Its
      arguments are ``widths`` (channels, (32, 64, 128)) and ``dropout`` (0.1).
    - "linear" is a linear map.
    - "features" is for rows of features that another network has computed; use it with
      ``n_components=256``. Its arguments are ``dropout`` (0.2), ``gain`` (30) and
      ``start`` ("discriminant").
    - "torchvision/NAME" and "timm/NAME", such as "torchvision/mobilenet_v2", are
      networks of these libraries (install the extra ``vision``). The mean and the
      maximum of their last feature maps, or their own pooling if they have no such
      maps, are the input of a new head.
    - A torch Module class is called with the ``module__*`` entries of ``net_params``,
      and with ``n_components``, ``input_shape``, ``n_features`` (rows) and
      ``n_channels`` (images) if its constructor has arguments of these names.
    - A torch Module instance is deep-copied.

    Arguments are set in ``net_params``, for example ``module__hidden``. For networks
    of torchvision and timm, ``module__weights`` names the pretrained weights:
    "DEFAULT" (the default), the latest; another name such as "IMAGENET1K_V1", or
    torchvision's enum member of that name; or None for random weights. The weights are
    downloaded once, to the directories that the environment variables TORCH_HOME and
    HF_HOME name. Networks with pretrained weights need images with values from 0 to
    255, as uint8, or from 0 to 1, as float, with three channels, or with one channel
    that is used three times. The head of "features" and of networks with pretrained
    weights is initialized by a discriminant analysis of up to 2,048 samples, or by
    their principal axes if ``module__start="principal"``.

    The network receives standardized inputs: float32 of shape (n, n_features) or (n,
    channels, height, width). Pretrained weights have their own mean and scale, and
    "features" receives its inputs unchanged. The network returns (n, n_components).
image_size : int or None, default={image_size}
    For files and datasets of images only: height and width in pixels of the images that
    the network receives, from 8 to 2048. None uses 128, or 227 if ``module`` names a
    network of torchvision or timm. Each image is resized until its shorter side is
    256 / 227 of ``image_size``, and the middle of its longer side is kept. The result
    has three channels of 8 bits: gray becomes three equal channels, transparent pixels
    become white, and photographs are rotated as their EXIF orientation says. Arrays
    keep their size, and allow None only; :class:`sk_dml.datasets.ImageSequence` makes a
    dataset of them.
on_bad_image : {{"raise", "skip"}}, default={on_bad_image!r}
    What happens if a file, or an item of a dataset, cannot be read as an image.
    "raise" stops with an error that names the path and the reason. "skip" reads every
    image once before the first epoch, and :meth:`fit` does not use the images that
    cannot be read; in :meth:`transform` they have rows of NaN. A warning counts and
    names them. The scorers of :mod:`sk_dml.scorers` leave these rows out, with a
    warning. Metrics, searches and classifiers refuse NaN: remove the rows with
    ``~np.isnan(embedding).any(axis=1)``.
augment : {{"auto", "affine", "crop"}}, callable or None, default={augment!r}
    Random changes of the images, during training only. "affine" rotates, scales,
    shears, shifts and slightly bends them, and suits glyphs. "crop" cuts out a random
    part, resizes it, and flips half of the images, and suits photographs. "auto" uses
    "affine" for gray images (one channel, or three channels that are equal in sixteen
    of the images), "crop" for other images, and nothing for rows.

    A callable receives every batch, a tensor of shape (n, channels, height, width) on
    the device with the values of X, and returns a tensor of that shape and range, of
    floats or uint8. Both are checked, so that it cannot scale or normalize. It should
    draw from torch's global random numbers, which ``random_state`` seeds. Images from
    files and datasets arrive as uint8 with height and width 256 / 227 of
    ``image_size``; the callable returns them in that size or cut to ``image_size``.
    Transforms of torchvision draw once per call. To draw for every image, use
    ``torch.stack([transform(image) for image in batch])``."""

OPTIMIZATION = """\
max_epochs : int, default={max_epochs}
    Number of passes over the training data.
lr : float, default={lr}
    Learning rate, above 0. With a schedule, the largest learning rate.
lr_schedule : {{"cosine", "onecycle", "step", "plateau"}} or None, \
        default={lr_schedule!r}
    How the learning rates change. "onecycle" increases them during the first 30 % of
    the steps and then decreases them almost to 0. "cosine" decreases them to 0. "step"
    divides them by 10 every 20 epochs. "plateau" divides them by 10 when
    ``valid_score``, or ``train_loss`` without validation, has not improved for more
    than 5 epochs. None keeps them constant. Details are entries of ``net_params``:
    ``lr_schedule__warmup`` (number of epochs during which the rates increase: 30 % of
    all for "onecycle", 0 for the others), ``lr_schedule__step_size`` (epochs, 20) and
    ``lr_schedule__gamma`` (0.1) of "step", ``lr_schedule__patience`` (epochs, 5) and
    ``lr_schedule__factor`` (0.1) of "plateau".
batch_size : int or "auto", default={batch_size!r}
    Number of samples in a batch, a multiple of ``samples_per_class``. "auto" uses an
    eighth of the samples, at least 32 (or all, if there are fewer) and at most 128.
samples_per_class : int or None, default={samples_per_class}
    Number of samples of each class in a batch (often called K), at most half of the
    batch; the batch holds as many classes as fit. None shuffles the samples instead,
    which suits losses with proxies. Losses that compare the samples of a batch need 2
    or more.
optimizer : {{"adamw", "adam", "sgd", "rmsprop"}} or type, default={optimizer!r}
    A torch optimizer, by name or as a class.
weight_decay : float, default={weight_decay}
    Weight decay of the weights of the network, at least 0. It does not apply to biases,
    normalization layers and proxies.
proxy_lr : float or None, default={proxy_lr}
    Learning rate of the parameters of the loss, such as proxies. None uses ten times
    ``lr``. If the loss has no parameters, only None is allowed."""

VALIDATION = """\
early_stopping : bool, default={early_stopping}
    Whether to hold out samples, score them after every epoch, stop when the score no
    longer improves, and restore the weights of the best epoch. Only classes with two or
    more samples are held out. If ``validation_fraction`` of these classes is five or
    more, whole classes are held out, and the score measures classes that were never
    seen. Otherwise that fraction of every class is held out, except of classes that
    would have fewer than two samples in either part. ``validation_data`` of :meth:`fit`
    replaces the samples held out; without ``early_stopping`` it is scored and changes
    nothing else. Samples that are held out are not learned from, and few classes or
    samples are soon told apart, so that they select an epoch that is too early. The
    whole training with "onecycle" is often slightly better, but takes longer.
validation_fraction : float, default={validation_fraction}
    Fraction of the classes, or of the samples, to hold out, in (0, 1).
n_iter_no_change : int or "auto", default={n_iter_no_change!r}
    Number of consecutive epochs without improvement after which training stops, at
    least 1. Epochs in which the learning rate still increases do not count (the first
    30 % for "onecycle"). "auto" is 10. For "onecycle" and "cosine" it is a quarter of
    ``max_epochs`` if that is more, because the low learning rates at the end often
    improve the score again.
tol : float, default={tol}
    A score improves if it exceeds the best score so far by at least this much. At
    least 0.
scoring : str or callable, default={scoring!r}
    The validation score: a retrieval metric of
    :func:`sk_dml.metrics.retrieval_scores`, or a callable ``scorer(estimator, X, y)``
    that returns a number, where larger is better, such as
    ``retrieval_scorer("map_at_r", n_classes=20, random_state=0)``. Metrics such as
    ``map_at_r_score`` are not scorers, as their argument is an embedding. The fewer
    classes are held out, the higher the score, and the less it predicts the score of
    many classes."""

COMPUTATION = """\
backbone_lr : float or None, default={backbone_lr}
    For pretrained networks: learning rate of all parameters outside of the head. The
    head is the submodule named ``head`` or, without one, the last layer that has
    parameters. None uses ``lr``, or a tenth of it if ``module`` names pretrained
    weights. 0 freezes these layers: their weights and statistics do not change, and
    their dropout is off, except in layers that have a learning rate in
    ``optimizer__param_groups``. A warning is raised if random weights are frozen.
precision : {{"float32", "bfloat16", "float16"}}, default={precision!r}
    Floating point format of the network during training. The 16-bit formats are faster
    and need less memory on many GPUs. Weights, proxies, the loss and ``transform``
    always use float32. "float16" skips steps whose gradients overflow; a warning is
    raised if there are many.
micro_batch_size : int or None, default={micro_batch_size}
    Largest number of samples that the network processes at once during training, at
    least 2. Larger batches are processed in pieces, twice, and need the memory of one
    piece. The step is the same as for the whole batch, except that batch normalization
    uses the statistics of the pieces. None processes every batch at once.
device : str or torch.device, default={device!r}
    The device to compute on. "auto" uses CUDA or MPS if available, and else the CPU.
random_state : int, RandomState instance or None, default={random_state}
    Seed of the weights, the batches and dropout. With an int, the embedding is the
    same to the bit every time on the same CPU with the same number of threads.
verbose : int, default={verbose}
    1 shows a progress bar in terminals (on standard error) and notebooks, but nothing
    in pipes and in the worker processes of a search. 2 or more prints a line for every
    epoch to standard output. If training resumes from a checkpoint, or is only loaded
    from one, a message says so first.
warm_start : bool, default={warm_start}
    Whether :meth:`fit` continues with the network and the proxies of the previous fit,
    for ``max_epochs`` more epochs, with a new optimizer and schedule. ``n_iter_`` and
    ``history_`` continue too. The classes must be the same or fewer, unless the loss
    has no parameters for the classes.
checkpoint_dir : str, path-like or None, default={checkpoint_dir}
    A directory that only this fit uses. It holds the state after the latest epoch, in
    ``checkpoint.safetensors``, and a lock file: a second fit with this directory is
    refused while the first one runs. If a fit was killed or interrupted, call it again
    with the same data and parameters: it resumes, and ends with the same weights as
    without the interruption, to the bit on the CPU. If the fit had finished, it is only
    loaded. A checkpoint of other data or parameters is refused. Only ``max_epochs`` may
    be larger, and only if no epoch depends on it: with ``lr_schedule`` None, "step" or
    "plateau", and no ``memory_warm_up``. A warm start is another fit and needs another
    directory. Callbacks are saved if they have ``state_dict`` and ``load_state_dict``.
callbacks : list of skorch callbacks or None, default={callbacks}
    Callbacks of the skorch net. For callbacks of scikit-learn, see
    :meth:`set_callbacks`. With validation, the history holds ``valid_score``, where
    larger is better, and no validation loss: monitor the score. Callbacks that change
    the learning rates need ``lr_schedule=None``. ``EpochScoring`` of skorch needs
    ``on_train=True``, and its scoring receives the net: the net has no validation
    samples; use ``scoring`` for these. A callback of skorch stops the fit if its
    ``on_epoch_end`` raises KeyboardInterrupt (anywhere else this interrupts the fit
    like Ctrl-C), and a callback of scikit-learn if its ``on_fit_task_end`` returns
    True. Do not stop early by ``train_loss``: with a schedule it falls late, and a mean
    over the terms that are not zero may not fall at all.
net_params : dict or None, default={net_params}
    More parameters of the skorch net and its parts: ``module__*`` (such as
    ``module__hidden``), ``optimizer__*``, ``iterator_train__*``, ``iterator_valid__*``,
    ``callbacks__*`` and ``lr_schedule__*``. Others are:

    - ``compile=True`` compiles the network for training, which takes seconds to a
      minute at first; ``compile__*`` are the options.
    - ``gradient_clip_value`` is the largest allowed norm of all gradients together,
      and ``gradient_clip_norm_type`` (2) the order of the norm.
    - ``freeze_batch_norm=True`` keeps the weights and statistics of batch
      normalization, which is the default if ``module`` names pretrained weights.
    - ``optimizer__param_groups``, such as ``[("layer1*", {{"lr": 1e-4}})]``, sets
      ``lr``, ``weight_decay`` and other options of the parameters whose names, as in
      ``named_parameters()`` of the module, match a pattern. The first pattern that
      matches counts. ``lr=0`` freezes the parameters.
    - ``iterator_train__num_workers`` and ``iterator_valid__num_workers``: files of
      images are read in advance by threads, as many as torch uses and at most 8. These
      entries use worker processes instead, or nothing if 0.
      ``iterator_train__prefetch_factor`` is the number of batches that are read in
      advance (by each worker). The result of training is the same.

    All entries are parameters of the embedder too: ``set_params`` and the grids of a
    search accept names such as ``module__hidden``."""

MEMORY = """\
memory_size : int, default={memory_size}
    Cross-batch memory [m]_: number of earlier embeddings with which every batch is
    compared, besides itself. It finds harder negatives if batches are small and there
    are many classes. 0 is off.
memory_warm_up : float, default={memory_warm_up}
    Fraction of the training before the memory is used, in [0, 1). While the network
    still changes fast, its earlier embeddings are misleading. When the memory begins,
    ``loss_curve_`` jumps up, as the comparison with the memory adds to the loss."""

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
    The labels that :meth:`fit` learned from, sorted, without those of classes that were
    held out.
n_features_in_ : int
    Number of features in :meth:`fit`; for images, number of values of one image.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the features. Defined only if all column names of X are strings.
image_size_ : int or None
    Height and width in pixels of the images that the network receives from files and
    datasets. None if X was something else.
bad_images_ : list of tuple (str or int, str)
    With ``on_bad_image="skip"``, the files (or indices in the dataset) that were not
    used in training or are missing in ``validation_data``, and the reasons.
n_iter_ : int
    Number of epochs trained.
history_ : list of dict
    An entry for every epoch: ``epoch``, from 1; ``train_loss``, the mean over the
    samples; ``lr``, the learning rate at its end; ``duration`` in seconds; and with
    validation ``valid_score``. For the last batch of the epoch: ``active_share``, the
    share of the pairs, of the triplets, or of the mined ones that have a loss, if the
    loss leaves some out; ``mean_similarity``, the mean cosine of samples of different
    classes, near 1 if the embedding collapses; ``effective_rank``, the number of
    dimensions in use [r]_; and ``gradient_norm`` of the weights of the network, before
    clipping. With ``precision="float16"``, ``skipped_steps``, the number of steps whose
    gradients overflowed.
best_score_ : float or None
    The highest ``valid_score`` of the last fit. Scores before a warm start do not
    count, as its samples or its ``scoring`` may differ. None without validation.
best_epoch_ : int or None
    The first epoch with that score, numbered as in ``history_``. ``early_stopping``
    restores its weights. None without validation.
loss_curve_ : list of float
    The ``train_loss`` of every epoch.
device_ : torch.device
    The device of the network, in training and in :meth:`transform`."""

EXAMPLE = """\
>>> from sklearn.datasets import load_wine
>>> from sk_dml import {0}
>>> X, y = load_wine(return_X_y=True)
>>> {0}(8, max_epochs=9, random_state=0).fit_transform(X, y).shape
(178, 8)"""


def add_shared_documentation(embedder):
    """Complete the docstring of an embedder.

    Add the shared parameters with their defaults, the shared attributes, the formula of
    the loss as Notes, its References, and an example if there is none. A subclass of a
    method has the own parameters and attributes of that method too.
    """
    if not embedder.__doc__:  # python -OO, or a subclass without a docstring
        return
    own = embedder._own_sections = _sections(embedder.__doc__)
    loss = _sections(embedder.loss_class.__doc__ or "")
    has_memory = hasattr(embedder, "memory_size")
    groups = [NETWORK, OPTIMIZATION, VALIDATION, COMPUTATION]
    shared = "\n".join([*groups, MEMORY] if has_memory else groups).format(
        **{field.name: getattr(embedder, field.name) for field in fields(embedder)}
    )

    def collect(title, *texts):
        methods = [vars(c).get("_own_sections", {}) for c in embedder.__mro__[::-1]]
        texts += tuple(method.get(title) for method in methods)
        return "\n".join(filter(None, texts))

    references = [loss.get("References", ""), own.get("References", "")]
    references += [MEMORY_REFERENCE] * has_memory + [RANK_REFERENCE]
    sections = {
        "Parameters": collect("Parameters", shared),
        "Attributes": collect("Attributes", ATTRIBUTES),
        "See Also": own.get("See Also", ""),
        "Notes": f"{loss.get('Extended', '')}\n\n{own.get('Notes', '')}",
        "References": "\n".join(filter(None, references)),
        "Examples": own.get("Examples", ""),
    }
    if not sections["Examples"] and embedder.__module__.startswith("sk_dml."):
        sections["Examples"] = EXAMPLE.format(embedder.__name__)
    parts = [own["Summary"], own["Extended"]] + [
        f"{title}\n{'-' * len(title)}\n{text.strip()}"
        for title, text in sections.items()
        if text.strip()
    ]
    embedder.__doc__ = "\n\n".join(filter(None, parts)) + "\n"


def _sections(docstring):
    """Split a docstring at its headings, into a dict of titles and texts."""
    first, *rest = re.split(
        r"^(\w[\w ]*)\n-+\n", inspect.cleandoc(docstring), flags=re.MULTILINE
    )
    summary, _, extended = first.partition("\n")
    texts = (text.strip("\n") for text in rest[1::2])
    return {
        "Summary": summary,
        "Extended": extended.strip(),
        **dict(zip(rest[::2], texts, strict=True)),
    }
