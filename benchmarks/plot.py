"""The latency of a load over time, with what was done to the server meanwhile, as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tally import percentile

STEP = 1.0
"""Seconds of the load that make one point."""

COLOURS = {"upgraded": "tab:green", "rolled back": "tab:orange", "killed": "tab:red"}
FAILED = "black"


def available() -> bool:
    """Whether matplotlib is installed, which draws it: the extra ``benchmark``."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def draw(
    answers: Sequence[tuple[float, float]],
    events: Iterable[tuple[float, str]],
    failures: Iterable[float],
    path: str,
) -> None:
    """Draw the median and the 99th percentile over time.

    Args:
        answers: when each was complete and after how long, in seconds.
        events: when something was done, and which of `COLOURS`.
        failures: when a request failed.
        path: of the PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 5), layout="constrained")
    axes = figure.subplots()
    steps = _steps(answers)
    seconds = [number * STEP for number in steps]
    for share, label in ((0.5, "median"), (0.99, "99th percentile")):
        milliseconds = [percentile(each, share) * 1000 for each in steps.values()]
        axes.plot(seconds, milliseconds, label=label, linewidth=1)
    labels = set()
    for at, outcome in [*events, *((at, "request failed") for at in failures)]:
        colour = COLOURS.get(outcome, FAILED)
        label = None if outcome in labels else outcome
        axes.axvline(at, color=colour, linewidth=0.8, linestyle=":", label=label)
        labels.add(outcome)
    axes.set(yscale="log", xlabel="seconds", ylabel="milliseconds until the answer was complete")
    axes.legend(loc="upper right")
    figure.savefig(path, format="png")


def _steps(answers: Iterable[tuple[float, float]]) -> Mapping[int, list[float]]:
    steps: dict[int, list[float]] = {}
    for at, latency in sorted(answers):
        steps.setdefault(int(at // STEP), []).append(latency)
    return {number: sorted(latencies) for number, latencies in steps.items()}
