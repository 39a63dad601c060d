"""What happens behind the page, without the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from . import cards
from .given import Given, read_given
from .networks import Answer, MaskNetwork, Network, TagNetwork

START = "Drop an image, paste one, or use the camera."


class Choice(NamedTuple):
    """What is chosen for a classifier."""

    tags: Sequence[str]
    threshold: float


class Desk:
    """Takes images and shows what networks say of them."""

    def __init__(self, networks: Sequence[Network]):
        self.networks = {network.name: network for network in networks}

    @property
    def classifiers(self) -> list[TagNetwork]:
        """The networks that have tags and a threshold."""
        return [network for network in self.networks.values() if isinstance(network, TagNetwork)]

    def take(self, path: Path, name: str) -> Given | str:
        """Return the image of a file, or a sentence that says why there is none."""
        try:
            return read_given(path, name)
        except ValueError as error:
            return str(error)

    def probabilities(self, given: Given) -> dict[str, dict[str, float]]:
        """Return what every classifier says of an image; nothing of one that cannot look at it."""
        found = {}
        for network in self.classifiers:
            try:
                found[network.name] = network.probabilities(given)
            except (ValueError, RuntimeError):  # `show` asks it too, and tells
                continue
        return found

    def show(self, given: Given | str | None, chosen: Sequence[str], choices: Mapping[str, Choice]) -> str:
        """Return the HTML of what the chosen networks say of an image.

        Args:
            given: what `take` returned; None before that.
            chosen: names of networks.
            choices: of every classifier that is chosen.
        """
        if given is None:
            return cards.hint(START)
        if isinstance(given, str):
            return cards.refusal(given)
        wanted = [network for name, network in self.networks.items() if name in chosen]
        if not wanted:
            return cards.hint("Choose at least one network.")
        parts, answers = [], []
        for network in wanted:
            try:
                answer = _ask(network, given, choices)
            except (ValueError, RuntimeError) as error:  # what layers raise of an image that is too small or too large
                parts.append(cards.failed(network, error))
                continue
            answers.append((network, answer.ids))
            parts.append(cards.answered(given, network, answer))
        taught = {network.teacher for network, _ in answers}
        answers.sort(key=lambda pair: not pair[0].digest or pair[0].digest not in taught)  # teachers first
        for place, (network, ids) in enumerate(answers):
            first = next(found for found in answers if found[0].classes == network.classes)
            if first[0] is not answers[place][0]:
                parts.append(cards.compared(given, first[0], network, (first[1], ids)))
        return cards.page(given, parts)


def _ask(network: Network, given: Given, choices: Mapping[str, Choice]) -> Answer:
    if isinstance(network, MaskNetwork):
        return network(given)
    choice = choices[network.name]
    return network(given, choice.tags, choice.threshold)
