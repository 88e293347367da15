"""Hooks around training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from merclip.errors import InputError

if TYPE_CHECKING:
    from merclip.training.loop import Trainer

LOWER_IS_BETTER = ("loss", "val_loss")


class Callback:
    """Base of callbacks: override what you need.

    Each hook is given the running `Trainer`; setting ``trainer.stop = True``
    ends training after the current epoch.

    Examples
    --------
    >>> from merclip import Callback, EmotionClassifier
    >>> class Losses(Callback):
    ...     def on_fit_begin(self, trainer):
    ...         self.seen = []
    ...     def on_epoch_end(self, trainer, record):
    ...         self.seen.append(record["loss"])
    >>> losses = Losses()
    >>> clf = EmotionClassifier(epochs=3, callbacks=[losses])
    >>> _ = clf.fit([{"text": "Ship it."}, {"text": "Not again!"}], ["go", "stop"])
    >>> len(losses.seen)
    3
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Run before the first epoch.

        Parameters
        ----------
        trainer : Trainer
            The one that runs.
        """

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Run before each epoch, counted from 0.

        Parameters
        ----------
        trainer : Trainer
            The one that runs.
        epoch : int
        """

    def on_batch_end(self, trainer: Trainer, step: int, loss: float) -> None:
        """Run after each optimiser step, counted from 1.

        Parameters
        ----------
        trainer : Trainer
            The one that runs.
        step : int
        loss : float
        """

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Run after each epoch with its line of `history_`.

        Parameters
        ----------
        trainer : Trainer
            The one that runs.
        record : dict
            Epoch, losses and validation scores.
        """

    def on_fit_end(self, trainer: Trainer) -> None:
        """Run after the last epoch, also when training was interrupted.

        Parameters
        ----------
        trainer : Trainer
            The one that runs.
        """


class EarlyStopping(Callback):
    """Stop when a value has not improved for some epochs.

    Parameters
    ----------
    patience : int
        Epochs without improvement.
    monitor : {"val_score", "val_loss", "loss"}
        A key of `history_`.
    min_delta : float
        Smallest change that counts.

    Examples
    --------
    >>> from merclip import EarlyStopping, EmotionClassifier
    >>> clf = EmotionClassifier(["calm", "tense"], callbacks=[EarlyStopping(patience=3)])
    """

    def __init__(
        self, patience: int = 5, monitor: str = "val_score", min_delta: float = 0.0
    ) -> None:
        self.patience = patience
        self.monitor = monitor
        self.min_delta = min_delta

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Forget earlier fits; take in the epochs of a resumed one.

        Parameters
        ----------
        trainer : Trainer
            The one that runs.

        Raises
        ------
        InputError
            `patience` is below 1.
        """
        if self.patience < 1:
            raise InputError(f"patience is at least 1 epoch, got {self.patience}.")
        self.best_ = float("-inf")
        self.waited_ = 0
        for record in trainer.history:
            self._update(trainer, record)

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Compare with the best epoch so far.

        Parameters
        ----------
        trainer : Trainer
            The one that runs.
        record : dict

        Raises
        ------
        InputError
            This fit does not record `monitor`.
        """
        self._update(trainer, record)

    def _update(self, trainer: Trainer, record: dict[str, Any]) -> None:
        if record.get(self.monitor) is None:
            known = sorted(key for key, value in record.items() if value is not None)
            raise InputError(
                f"EarlyStopping monitors {self.monitor!r}, but this fit records {known}; "
                "validation needs enough clips of each class."
            )
        value = float(record[self.monitor])
        value = -value if self.monitor in LOWER_IS_BETTER else value
        self.waited_ = 0 if value > self.best_ + self.min_delta else self.waited_ + 1
        self.best_ = max(self.best_, value)
        trainer.stop = trainer.stop or self.waited_ >= self.patience
