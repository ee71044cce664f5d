"""Names for runs that nobody named, such as "brisk-weir-417"."""

from collections.abc import Callable, Sequence
from typing import Final

_ADJECTIVES: Final = (  # noqa: SIM905 - words read better as a text
    "able amber ample azure bold brave bright brisk calm clear clever crisp dapper deep eager early easy fair fast "
    "fine fleet fluent fond fresh gentle glad golden grand happy hardy honest humble icy jolly keen kind lively loyal "
    "lucid lucky merry mild modest neat nimble noble plain polite proud quick quiet rapid ready rosy rustic serene "
    "sharp shiny silent silver sleek smooth snug solid steady still sturdy subtle sunny swift tidy tranquil true "
    "upbeat vivid warm wise witty zesty"
).split()
_NOUNS: Final = (  # noqa: SIM905 - as above
    "anchor basin bay beaver bridge brook canal cascade cliff cove creek current dam delta dike dipper dune eddy "
    "estuary falls ferry fjord floodgate ford fountain geyser glacier gorge harbor heron inlet island kayak "
    "kingfisher lagoon lake lock lotus marsh meadow mill minnow oasis otter paddle pebble penstock pike pond pool "
    "quay raft rain rapids reed reef ridge river rotor salmon shoal sluice spillway spring stream surge swan tarn "
    "tide trout tunnel turbine valley vortex wave weir wharf willow"
).split()
_NUMBERS: Final = [str(number) for number in range(100, 1000)]


def readable_name(choose: Callable[[Sequence[str]], str]) -> str:
    """Adjective, noun and number, each picked by `choose` (`random.choice`); 5 million there are, none is unique."""
    return f"{choose(_ADJECTIVES)}-{choose(_NOUNS)}-{choose(_NUMBERS)}"
