"""What a run needs to know beyond its model and its data. No torch here: the command line reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from roco_search.errors import TrainingError

Accumulation = Literal["exact", "naive"]
Objective = Literal["auto", "info-nce", "sigmoid"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
CHOICES = {"accumulation": get_args(Accumulation), "objective": get_args(Objective), "precision": get_args(Precision)}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a run. The defaults are for fine-tuning CLIP on ROCO on one GPU of 16 GB.

    Attributes
    ----------
    batch_size
        Contrastive batch size: the number of candidates each image and each text is compared with.
    micro_batch
        The number of pairs in memory at once. With ``exact`` accumulation it changes only memory and time.
    accumulation
        ``exact``: the gradient of the whole batch. ``naive``: the mean of the gradients of the micro-batches, in
        which each image is compared with only ``micro_batch`` candidates, to reproduce what others did.
    objective
        ``info-nce`` (CLIP), ``sigmoid`` (SigLIP), or ``auto``: the one that the model was made with.
    precision
        ``auto``, ``fp32``, ``bf16`` or ``fp16``; weights and optimiser are float32 in all of them.
    image_tower, text_tower
        How much of each learns; see `towers`.
    learning_rate
        The maximum, for the pretrained weights.
    image_factor, text_factor, projection_factor
        Factors of the learning rate for the towers and the projections. A new projection needs a higher rate than a
        pretrained tower.
    layer_decay
        A further factor for each block below the last; 1 treats all blocks alike.
    weight_decay
        The decay of matrices; biases, norms, the logit scale and its bias have none.
    warmup
        The number of steps to the full learning rate; 0 is a tenth of the run, at most 500, and so is one that is as
        long as the run.
    clip_norm
        The largest gradient norm that is not clipped.
    logit_scale
        Whether the temperature learns; it never exceeds ln 100 (Radford et al. 2021, section 2.5).
    epochs, max_steps
        The run ends with whichever comes first; ``max_steps`` 0 is no limit.
    averaging
        The decay of a moving average of the weights, 0 for none. The average is then what is validated and saved.
    augment
        Whether images are cropped, turned, windowed and masked at random; never flipped left to right.
    image_size
        The side in pixels at which images are trained on; 0 is the model's own. Only a convolutional tower accepts
        another.
    eval_every, checkpoint_every
        The number of steps between two validations, and between two checkpoints; 0 is once an epoch.
    keep_checkpoints
        Whether the checkpoints of a finished run are kept; each is several times as large as the model.
    patience
        The number of validations in a row without an improvement that ends the run; 0 is never.
    cases_apart
        Whether training pairs of cases that are in the validation split are left out. ROCO's own splits divide
        articles: 1,468 of the 8,179 captions of its test split are of an article that is in its validation split.
    seed
        The seed of everything random.
    """

    batch_size: int = 128
    micro_batch: int = 32
    accumulation: Accumulation = "exact"
    objective: Objective = "auto"
    precision: Precision = "auto"
    image_tower: str = "all"
    text_tower: str = "all"
    learning_rate: float = 1e-5  # higher ones overwrite what CLIP knows: openai/CLIP#150, open_clip#811
    image_factor: float = 1.0
    text_factor: float = 1.0
    projection_factor: float = 1.0
    layer_decay: float = 1.0
    weight_decay: float = 0.1
    warmup: int = 0
    clip_norm: float = 1.0
    logit_scale: bool = True
    epochs: int = 5
    max_steps: int = 0
    averaging: float = 0.0
    augment: bool = True
    image_size: int = 0
    eval_every: int = 0
    checkpoint_every: int = 0
    keep_checkpoints: bool = False
    patience: int = 3  # over-fitting shows after about three epochs
    cases_apart: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `TrainingError` for what cannot work."""
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise TrainingError(f"`{name}` {getattr(self, name)!r} is not one of {', '.join(choices)}.")
        for name in ("batch_size", "micro_batch", "epochs"):
            if getattr(self, name) < 1:
                raise TrainingError(f"`{name}` is {getattr(self, name)}; it must be at least 1.")
        if self.batch_size < 2:
            raise TrainingError("A contrastive batch of 1 has nothing to compare; set `batch_size` to 2 or more.")
        if self.batch_size % self.micro_batch and self.micro_batch < self.batch_size:
            raise TrainingError(
                f"`batch_size` {self.batch_size} is no multiple of `micro_batch` {self.micro_batch}; make it one."
            )
        for name in ("warmup", "max_steps", "image_size", "eval_every", "checkpoint_every", "patience", "weight_decay"):
            if getattr(self, name) < 0:
                raise TrainingError(f"`{name}` is {getattr(self, name)}; it cannot be negative.")
        for name in ("learning_rate", "clip_norm", "image_factor", "text_factor", "projection_factor"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"`{name}` is {getattr(self, name)}; it must be above 0.")
        if not 0 < self.layer_decay <= 1 or not 0 <= self.averaging < 1:
            raise TrainingError(
                "`layer_decay` must be above 0 and at most 1, and `averaging` at least 0 and below 1; correct it."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Read what `to_dict` gave; names that this version does not know are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # What ROCO-Radiology-CLIP did, as its published code shows. Each image saw 31 negatives, not 127.
    "roco-v1": {
        "batch_size": 128,
        "micro_batch": 32,
        "accumulation": "naive",
        "objective": "info-nce",
        "precision": "fp16",
        "image_tower": "last:30%",
        "text_tower": "last:30%",
        "learning_rate": 1e-5,
        "weight_decay": 0.01,
        "warmup": 500,
        "logit_scale": False,
        "epochs": 5,
        "augment": False,
        "patience": 0,
        "cases_apart": False,
    },
}


def with_preset(name: str | None, given: Mapping[str, Any]) -> Settings:
    """Return the defaults, changed by a preset, changed by what was given. Raises `TrainingError`."""
    if name is not None and name not in PRESETS:
        raise TrainingError(f"There is no preset {name!r}; there is {', '.join(PRESETS)}.")
    return replace(Settings(), **{**PRESETS.get(name or "", {}), **given})
