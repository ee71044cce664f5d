"""What one `log` of a scalar costs with W&B, offline."""

import wandb  # pyright: ignore[reportMissingImports] # in the peer's environment

from programs import cost
from programs.wire import given, hear, say


def main() -> None:
    """Arguments: folder, calls."""
    asked = given()
    run = wandb.init(mode="offline", dir=asked["folder"], project="bench")
    say(ready=True)
    hear()
    say(log=cost.measure(lambda _number: run.log({"loss": 0.5}), asked["calls"]))
    hear()


if __name__ == "__main__":
    main()
