"""The options of `train` and `tune`, group by group as in the engine's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from cli.options import DATA_SOURCE, EPSILON, INPUT_FILE, NUMBERS
from cli.question_options import (
    NORMALIZATION_OPTIONS,
    VALID_RANGE_OPTION,
    require_normalization,
)
from training.methods import FeasibilityForm, TrainingMethod
from training.options import LearningRateSchedule, OptimiserKind

__all__ = ["check_start", "learn_options", "take_settings", "weight_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

_SHARE = click.FloatRange(0, 1)
_ABOVE_ZERO = click.FloatRange(0, min_open=True)
_COUNT = click.IntRange(min=1)

# Which option sets which setting: the group and the name in `TrainingOptions`. What is not given
# keeps the engine's default, which is stated once, there.
_PLACES: Mapping[str, tuple[str | None, str]] = {
    "method": (None, "method"),
    "epsilon": (None, "epsilon"),
    "epochs": (None, "epochs"),
    "feasibility_weight": (None, "feasibility_weight"),
    "feasibility_form": (None, "feasibility_form"),
    "feasibility_share": (None, "feasibility_share"),
    "slack_weight": (None, "slack_weight"),
    "loss_fusion": (None, "loss_fusion"),
    "batch_size": (None, "batch_size"),
    "valid_range": (None, "valid_range"),
    "deterministic": (None, "deterministic"),
    "optimiser": ("optimiser", "kind"),
    "learning_rate": ("optimiser", "learning_rate"),
    "schedule": ("optimiser", "schedule"),
    "milestones": ("optimiser", "milestones"),
    "decay": ("optimiser", "decay"),
    "weight_decay": ("optimiser", "weight_decay"),
    "gradient_clip": ("optimiser", "gradient_clip"),
    "warm_up": ("ramp", "warm_up"),
    "ramp": ("ramp", "ramp"),
    "kappa": ("ramp", "kappa"),
    "kappa_start": ("ramp", "kappa_start"),
    "epsilon_factor": ("ramp", "epsilon_factor"),
    "attack_steps": ("adversary", "steps"),
    "box_share": ("adversary", "box_share"),
    "mixture": ("adversary", "mixture"),
    "crop": ("augmentation", "crop"),
    "flip": ("augmentation", "flip"),
    "certified_by": ("selection", "certified_by"),
    "patience": ("selection", "patience"),
    "validation_share": ("selection", "share"),
    "validation_count": ("selection", "count"),
}


def take_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Move the engine's settings out of the options of the command; those not given stay away."""
    settings: dict[str, Any] = {}
    for option, (group, name) in _PLACES.items():
        value = options.pop(option, None)
        if value is not None or option == "valid_range":
            place = settings if group is None else settings.setdefault(group, {})
            place[name] = value
    return settings


def _choice(kinds: Any) -> click.Choice[str]:  # noqa: ANN401 (any enumeration of strings)
    return click.Choice([kind.value for kind in kinds])


_OPTIONS = (
    click.option(
        "--method", type=_choice(TrainingMethod), required=True, help="What the loss is made of."
    ),
    click.option(
        "--epsilon", type=EPSILON, required=True, help="Radius of the L∞ region, in raw units."
    ),
    click.option(
        "--epochs", type=_COUNT, default=20, show_default=True, help="Passes over the data."
    ),
    click.option("--feasibility-form", type=_choice(FeasibilityForm), help="How it measures."),
    click.option(
        "--loss-fusion/--no-loss-fusion",
        default=None,
        help="One row for all classes in crown-ibp, or one for each: tighter, and slower.",
    ),
    click.option("--batch-size", type=_COUNT, help="Inputs per step."),
    VALID_RANGE_OPTION,
    click.option("--deterministic", is_flag=True, default=None, help="Repeatable on a GPU too."),
    click.option("--optimiser", type=_choice(OptimiserKind), help="Of torch."),
    click.option("--learning-rate", type=_ABOVE_ZERO, help="At the start."),
    click.option("--schedule", type=_choice(LearningRateSchedule), help="Of the learning rate."),
    click.option("--milestones", type=NUMBERS, help="Shares of the run, for the schedule step."),
    click.option("--decay", type=_ABOVE_ZERO, help="Factor at each milestone."),
    click.option("--weight-decay", type=EPSILON, help="Of the optimiser."),
    click.option("--gradient-clip", type=_ABOVE_ZERO, help="Largest norm of the gradient."),
    click.option("--warm-up", type=_SHARE, help="Share of the run with epsilon 0."),
    click.option("--ramp", type=_SHARE, help="Share of the run in which epsilon grows."),
    click.option("--kappa", type=_SHARE, help="Final weight of the robust loss."),
    click.option("--kappa-start", type=_SHARE, help="That weight as the ramp starts."),
    click.option("--epsilon-factor", type=_ABOVE_ZERO, help="Train with a larger epsilon."),
    click.option("--attack-steps", type=_COUNT, help="Of pgd, sabr and mtl-ibp."),
    click.option("--box-share", type=_SHARE, help="Radius of sabr's boxes, as share of epsilon."),
    click.option("--mixture", type=_SHARE, help="Weight of the interval bounds in mtl-ibp."),
    click.option("--crop", type=click.IntRange(min=0), help="Random crops from so much padding."),
    click.option("--flip", is_flag=True, default=None, help="Mirror half of the images."),
    click.option("--certified-by", help="Method of certified accuracy after each epoch."),
    click.option("--patience", type=_COUNT, help="Stop after so many epochs without a better one."),
    click.option("--validation-share", type=_SHARE, help="Kept where the data have no such part."),
    click.option("--validation-count", type=_COUNT, help="Use the first so many of them."),
)


_WEIGHTS = (
    click.option("--feasibility-weight", type=EPSILON, help="λ, of the feasibility regularizer."),
    click.option("--feasibility-share", type=_SHARE, help="Of each batch that it looks at."),
    click.option("--slack-weight", type=EPSILON, help="γ, of the slack regularizer."),
)
_START: tuple[Callable[[Any], Any], ...] = (
    click.option("--network", type=INPUT_FILE, help="An ONNX file to train further."),
    click.option(
        "--architecture",
        help="To train from the start: cnn-small, cnn-large, dm-small, dm-medium, dm-large, cnn7, "
        "or mlp:WIDTH,WIDTH,….",
    ),
    click.option(
        "--initialisation",
        type=click.Choice(["standard", "ibp"]),
        default="standard",
        show_default=True,
        help="Of an architecture's weights; ibp keeps intervals from growing.",
    ),
    click.option("--data", type=DATA_SOURCE, required=True, help="Training data, as in certify."),
    click.option("--count", type=_COUNT, help="Train on the first so many inputs."),
    *NORMALIZATION_OPTIONS,
)


def learn_options(command: Command) -> Command:
    """Add what to start from, and the options of the engine but for the regularizers' weights."""
    for add in reversed(_START + _OPTIONS):
        command = add(command)
    return command


def weight_options(command: Command) -> Command:
    """Add the weights of the regularizers."""
    for add in reversed(_WEIGHTS):
        command = add(command)
    return command


def check_start(options: Mapping[str, object]) -> None:
    """Refuse two networks to start from, or none, and one half of a normalisation."""
    if (options["network"] is None) == (options["architecture"] is None):
        raise click.UsageError("give either --network or --architecture")
    require_normalization(options)
