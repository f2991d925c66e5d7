"""How a batch becomes a step of the optimizer."""

import torch
from skorch.utils import TeeGenerator

from sk_dml._training._micro import cached_gradients
from sk_dml._training._optimizer import batch_norms
from sk_dml._training._precision import autocast, check_precision, make_scaler
from sk_dml.utils import warn


def check_step(embedder, device, batch_size):
    """Check the parameters that decide how a step is computed.

    Parameters
    ----------
    embedder : BaseEmbedder
    device : torch.device
    batch_size : int

    Raises
    ------
    ValueError
        If the device lacks the precision, or a piece of a batch is larger than it.
    """
    check_precision(embedder.precision, device)
    size = embedder.micro_batch_size
    if size is not None and size > batch_size:
        raise ValueError(
            f"micro_batch_size={size} is larger than the batches of {batch_size} "
            "samples that it splits; give at most that, or None."
        )


def total_norm(network):
    """Compute the Euclidean norm of all gradients of a network together.

    Parameters
    ----------
    network : torch.nn.Module

    Returns
    -------
    scalar tensor or None
        None without gradients.
    """
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else None


class Step:
    """Gradients of a batch, and the step along them.

    Parameters
    ----------
    net : EmbeddingNet
        An initialised net; its precision, micro_batch_size and gradient_clip_value
        say how.
    """

    def __init__(self, net):
        self.net = net
        self.device = torch.device(net.device)
        self.scaler = make_scaler(net.precision, self.device)
        self.n_skipped = 0
        self.gradient_norm = None  # that of the network before clipping, if it clips
        frozen = set(net._frozen_modules())
        norms = batch_norms(net.module_)
        if net.freeze_batch_norm and not norms:
            raise ValueError(
                "net_params holds freeze_batch_norm=True, but the network has no batch "
                "norm. Allowed is False."
            )
        is_split = (net.micro_batch_size or net.batch_size) < net.batch_size
        if is_split and not frozen.issuperset(norms):
            warn(
                f"micro_batch_size={net.micro_batch_size} changes what the network's "
                f"{len(norms)} batch norms do: they normalise over the pieces instead "
                "of the batch, and the smaller the pieces, the worse the result. Use a "
                "module without batch norm, or net_params={'freeze_batch_norm': True} "
                "for a pretrained one."
            )

    def take(self, batch):
        """Train on a batch.

        Parameters
        ----------
        batch : tuple of tensors
            Samples and labels.

        Returns
        -------
        dict
            The ``loss`` and the embeddings, ``y_pred``, as skorch's steps return them.
        """
        net = self.net
        optimizer = net.optimizer_
        done = {}

        def closure():
            optimizer.zero_grad()
            done["loss"], done["y_pred"] = self._gradients(*batch)
            if self.scaler:
                self.scaler.unscale_(optimizer)
            self.gradient_norm = None
            if net.gradient_clip_value is not None:
                self.gradient_norm = total_norm(net.module_)
                torch.nn.utils.clip_grad_norm_(
                    [p for _, p in net.get_all_learnable_params()],
                    net.gradient_clip_value,
                    norm_type=net.gradient_clip_norm_type,
                )
            net.notify(
                "on_grad_computed",
                named_parameters=TeeGenerator(net.get_all_learnable_params()),
                batch=batch,
                training=True,
            )
            return done["loss"]

        if self.scaler is None:
            optimizer.step(closure)
        else:
            closure()
            scale = self.scaler.get_scale()
            self.scaler.step(optimizer)
            self.scaler.update()
            # It is lowered where the gradients were not finite, to 0 in the end.
            self.n_skipped += self.scaler.get_scale() < scale or scale == 0
        return done

    def count_skipped(self):
        """Count the steps that were skipped since the last call.

        Returns
        -------
        int or None
            None where none can be.
        """
        if self.scaler is None:
            return None
        n_skipped, self.n_skipped = self.n_skipped, 0
        return n_skipped

    def _gradients(self, inputs, labels):
        net = self.net
        size = net.micro_batch_size
        if size is not None and len(inputs) > size:
            return cached_gradients(
                net.module_,
                inputs,
                lambda embeddings: self._loss(embeddings, labels),
                self._embed,
                micro_batch_size=size,
                device=self.device,
            )
        embeddings = self._embed(inputs)
        loss, start = self._loss(embeddings, labels)
        start.backward()
        return loss, embeddings

    def _embed(self, inputs):
        net = self.net
        inputs = inputs.to(self.device, non_blocking=True)
        if net.precision == "float32":
            return net.module_(inputs)
        with autocast(net.precision, self.device):
            return net.module_(inputs)

    def _loss(self, embeddings, labels):
        """Compute the loss, in full precision, and what to differentiate."""
        loss = self.net.get_loss(embeddings, labels, training=True)
        return loss, loss if self.scaler is None else self.scaler.scale(loss)
