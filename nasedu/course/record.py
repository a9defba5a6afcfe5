"""What a reader did in the running notebook: exercises and predictions, as `finish` writes them down."""

from __future__ import annotations

EXERCISES: dict[str, dict[str, str]] = {}  # by number: title, state (passed, failed or not tried), message
EXERCISES_TYPE = "application/vnd.nasedu.exercises+json"
PREDICTIONS: dict[str, dict[str, str | None]] = {}  # by question: said (None: nothing) and came (None: not told yet)


def clear() -> None:
    """A notebook starts."""
    EXERCISES.clear()
    PREDICTIONS.clear()


def show_exercises() -> None:
    """Put the exercises into the output of the cell that runs, for a program to read."""
    from IPython.display import publish_display_data

    publish_display_data({EXERCISES_TYPE: EXERCISES})
