"""MLflow's own client with PyTorch, Lightning and Keras: autologging, and models loaded by an alias; `python frameworks.py [PART ...]`."""

import os
import sys
import time
from collections.abc import Callable

os.environ["KERAS_BACKEND"] = "torch"

import keras
import lightning
import mlflow
import numpy as np
import torch
from mlflow import MlflowClient

MARK = f"{os.getpid()}-{time.time_ns()}"
EPOCHS = 3
PINNED = {"pip_requirements": ["torch"]}  # else the client works them out, in a process of its own
PARTS: dict[str, Callable[[], None]] = {}


def part(work: Callable[[], None]) -> Callable[[], None]:
    """Registers a part under its name."""
    PARTS[work.__name__] = work
    return work


def points() -> tuple[np.ndarray, np.ndarray]:
    """Of a line, and which side of it they are on."""
    rows = np.random.default_rng(7).normal(size=(200, 4)).astype(np.float32)
    return rows, (rows.sum(axis=1, keepdims=True) > 0).astype(np.float32)


def batches() -> torch.utils.data.DataLoader:
    """The same for PyTorch."""
    rows, sides = points()
    data = torch.utils.data.TensorDataset(torch.from_numpy(rows), torch.from_numpy(sides))
    return torch.utils.data.DataLoader(data, batch_size=50)


class Line(lightning.LightningModule):
    """Learns it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layer(rows))

    def training_step(self, batch: list[torch.Tensor], number: int) -> torch.Tensor:
        loss = torch.nn.functional.binary_cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


def served_alike(name: str, predict: Callable[[np.ndarray], np.ndarray]) -> None:
    """The model behind the alias answers as the one in memory."""
    MlflowClient().set_registered_model_alias(name, "best", 1)
    rows, _ = points()
    told = mlflow.pyfunc.load_model(f"models:/{name}@best").predict(rows)
    np.testing.assert_allclose(np.asarray(told), predict(rows), rtol=1e-5)


def falls(run_id: str, key: str, count: int) -> None:
    """A loss that was logged at every epoch, and became smaller."""
    history = MlflowClient().get_metric_history(run_id, key)
    assert len(history) == count, (key, len(history))
    assert history[-1].value < history[0].value


@part
def pytorch() -> None:
    """A loop of one's own: metrics by hand, the model logged."""
    model = Line()
    optimizer, step = model.configure_optimizers(), 0
    with mlflow.start_run() as run:
        mlflow.log_params({"lr": 0.05, "epochs": EPOCHS})
        for _ in range(EPOCHS):
            for batch in batches():
                optimizer.zero_grad()
                loss = model.training_step(batch, step)
                loss.backward()
                optimizer.step()
                mlflow.log_metric("loss", loss, step=step)
                step += 1
        name = f"pytorch-{MARK}"
        rows, _ = points()
        mlflow.pytorch.log_model(model.layer, name="line", registered_model_name=name, input_example=rows[:2], **PINNED)
    falls(run.info.run_id, "loss", EPOCHS * 4)
    served_alike(name, lambda rows: model.layer(torch.from_numpy(rows)).detach().numpy())
    loaded = mlflow.pytorch.load_model(f"models:/{name}@best")
    assert torch.equal(loaded.weight, model.layer.weight)


@part
def lightning_autolog() -> None:
    """What PyTorch Lightning's autologging records."""
    model, name = Line(), f"lightning-{MARK}"
    mlflow.pytorch.autolog(registered_model_name=name)
    try:
        with mlflow.start_run() as run:
            quiet = {"enable_progress_bar": False, "enable_checkpointing": False, "logger": False}
            trainer = lightning.Trainer(max_epochs=EPOCHS, accelerator="cpu", **quiet)
            trainer.fit(model, batches())
    finally:
        mlflow.pytorch.autolog(disable=True)
    found = MlflowClient().get_run(run.info.run_id)
    assert found.data.params["epochs"] == str(EPOCHS), found.data.params
    assert found.data.params["optimizer_name"] == "Adam"
    falls(run.info.run_id, "train_loss_epoch", EPOCHS)
    served_alike(name, lambda rows: model(torch.from_numpy(rows)).detach().numpy())


@part
def keras_autolog() -> None:
    """What Keras's autologging records."""
    name = f"keras-{MARK}"
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss="binary_crossentropy", metrics=["accuracy"])
    mlflow.keras.autolog(registered_model_name=name)
    try:
        with mlflow.start_run() as run:
            rows, sides = points()
            model.fit(rows, sides, epochs=EPOCHS, batch_size=50, verbose=0)
    finally:
        mlflow.keras.autolog(disable=True)
    found = MlflowClient().get_run(run.info.run_id)
    assert found.data.params["epochs"] == str(EPOCHS), found.data.params
    falls(run.info.run_id, "loss", EPOCHS)
    assert "accuracy" in found.data.metrics
    served_alike(name, lambda rows: np.asarray(model.predict(rows, verbose=0)))
    loaded = mlflow.keras.load_model(f"models:/{name}@best")
    np.testing.assert_allclose(loaded.predict(rows, verbose=0), model.predict(rows, verbose=0), rtol=1e-5)


def main() -> None:
    """Runs the parts named, or all."""
    mlflow.set_experiment(f"frameworks-{MARK}")
    for name in sys.argv[1:] or PARTS:
        started = time.monotonic()
        PARTS[name]()
        print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
