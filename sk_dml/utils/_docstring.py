"""The documentation that all embedders share, written once."""

import inspect
from string import Formatter

PARAMETERS = """\
n_components : int, default={n_components}
    Width of the embedding.
module : None, str, type or torch.nn.Module, default=None
    The network. None takes "mlp" for rows and "conv" for images; "linear" is a
    linear map. A torch Module class is built with the ``module__*`` entries of
    ``net_params``, and is given ``n_components``, ``input_shape``, ``n_features``
    (rows) and ``n_channels`` (images) where its constructor has arguments of these
    names. An instance is deep-copied. The network receives standardised inputs,
    float32 of shape (n, n_features) or (n, channels, height, width), and returns
    (n, n_components). Of its own, "mlp" has the arguments ``hidden`` (widths of the
    layers, default (512, 512)), ``dropout`` (0.2) and ``input_dropout`` (0.1); "conv"
    has ``widths`` (channels, (32, 64, 128)) and ``dropout`` (0.1).
max_epochs : int, default={max_epochs}
    Passes over the training data.
lr : float, default={lr}
    Learning rate, above 0; the largest one under a schedule.
lr_schedule : {{"onecycle"}} or None, default={lr_schedule!r}
    "onecycle" raises the learning rate over the first 30 % of the steps and lowers it
    to almost nothing over the rest; None keeps it.
batch_size : int or "auto", default={batch_size!r}
    Samples a batch, a multiple of ``samples_per_class``. "auto" takes an eighth of the
    samples, but no fewer than 32 (where there are so many) and no more than 128.
samples_per_class : int or None, default={samples_per_class}
    Samples of every class that a batch draws: its K, with as many classes as there is
    room for. None shuffles the samples instead, which suits losses with proxies; losses
    that compare the samples of a batch need 2 or more.
optimizer : {{"adamw", "adam", "sgd", "rmsprop"}} or type, default={optimizer!r}
    A torch optimizer, by name or as a class.
weight_decay : float, default={weight_decay}
    Weight decay of the network's weights, at least 0; biases, norms and proxies are
    spared.
proxy_lr : float or None, default={proxy_lr}
    Learning rate of what the loss itself learns, such as proxies. None takes ``lr``. A
    loss that learns nothing allows None only.
device : str or torch.device, default={device!r}
    Where to compute. "auto" takes CUDA or MPS where there is one, the CPU otherwise.
random_state : int, RandomState instance or None, default={random_state}
    Seeds the weights, the batches and dropout. An int gives the same embedding to the
    bit on the same CPU.
verbose : int, default={verbose}
    With 1 or more, prints a line an epoch.
callbacks : list of skorch callbacks or None, default={callbacks}
    Called by the skorch net during training. There is no validation loss for them to
    watch: name the ``train_loss``, as in ``EarlyStopping(monitor="train_loss")``.
net_params : dict or None, default={net_params}
    More settings of the skorch net and what it holds: ``module__*`` (say
    ``module__hidden``), ``optimizer__*``, ``iterator_train__*``, ``iterator_valid__*``,
    ``callbacks__*``, ``compile`` and ``compile__*``. They are parameters of the
    embedder too: ``set_params(module__hidden=(512,))`` and grids may name them."""

ATTRIBUTES = """\
net_ : EmbeddingNet
    The trained skorch net.
classes_ : ndarray of shape (n_classes,)
    The labels seen in :meth:`fit`, sorted.
n_features_in_ : int
    Number of features seen in :meth:`fit`; for images, of values of one image.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the features, if X had column names that are all strings.
n_iter_ : int
    Number of epochs trained.
history_ : list of dict
    A row for every epoch: ``epoch``, ``train_loss`` (mean over the samples) and
    ``duration`` (seconds).
loss_curve_ : list of float
    The ``train_loss`` of every epoch.
device_ : torch.device
    Where the network was trained and computes."""


def add_shared_documentation(embedder):
    """Put the parameters and attributes of all embedders into the docstring of one.

    Parameters
    ----------
    embedder : type
        An embedder whose docstring documents its own parameters under "Parameters".
        The defaults that it changes are read from its class attributes.
    """
    if embedder.__doc__ is None:  # python -OO
        return
    fields = [name for _, name, _, _ in Formatter().parse(PARAMETERS) if name]
    defaults = {name: getattr(embedder, name) for name in fields}
    header = "Parameters\n----------\n"
    summary, found, own = inspect.cleandoc(embedder.__doc__).partition(header)
    if not found:
        return
    own, see_also, rest = own.partition("\n\nSee Also\n--------\n")
    attributes = "\n\nAttributes\n----------\n" + ATTRIBUTES
    shared = PARAMETERS.format(**defaults)
    embedder.__doc__ = (
        summary + header + shared + "\n" + own + attributes + see_also + rest + "\n"
    )
