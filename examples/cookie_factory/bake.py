"""The story of Headrace: bake batches, compare them, deploy the best, replace it by a better one under load.

Run it against a Headrace that is up: `python examples/cookie_factory/bake.py` (HEADRACE_URI says where, default
http://127.0.0.1:8080).
"""

import argparse
import os
import sys
import time

import matplotlib as mpl
from customers import Customers, ask
from kitchen import BETTER, RECIPES, Data, Recipe, bake, prepare, taste
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.pipeline import Pipeline

import headrace as hr

mpl.use("Agg")
from matplotlib import pyplot as plt

MODEL = "cookie-judge"
COMPARED = [
    "name",
    "params.ingredients",
    "params.learning_rate",
    "params.sweetness",
    "metrics.loss",
    "metrics.test_loss",
    "metrics.test_accuracy",
    "metrics.test_f1",
]
PROMOTED = "headrace.api.registry.v1.ModelVersionPromoted"


def main() -> int:
    """The whole story; 0 when every request was answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default=os.environ.get("HEADRACE_URI", "http://127.0.0.1:8080"))
    uri = parser.parse_args().uri.rstrip("/")
    hr.connect(uri)
    data = prepare()
    dataset = hr.dataset_from(
        data.train.assign(quality=data.train_quality), name="batches", source="scikit-learn load_wine"
    )

    say(f"1. baking {len(RECIPES)} batches")
    hr.set_experiment("cookie-factory")
    runs = [bake_run(f"batch-{number:02}", recipe, data, dataset) for number, recipe in enumerate(RECIPES, 1)]

    say("2. comparing them")
    table = hr.search_runs(
        ["cookie-factory"], filter="params.minutes = '5'", order_by=["metrics.test_f1 DESC"], limit=len(runs)
    )
    print(table.to_text(columns=COMPARED))
    best = table[0]

    say(f"3. registering and promoting the best, {best.name}")
    logged = next(model for run_id, model in runs if run_id == best.run_id)
    first = hr.register_model(logged, MODEL, description="tells the quality of a batch from its ingredients")
    with hr.events.subscribe(types=[PROMOTED]) as events:
        hr.promote(MODEL, first.version)
        wait_for_promotion(events, first.version)
        hr.deployments.wait(MODEL, version=first.version, timeout=60)
        url = f"{uri}/serving/{MODEL}/invocations"
        told, version = ask(url, data.test.head(5))
        print(f"   version {version} says {told} of five new batches; they are {data.test_quality.head(5).tolist()}")

        say("4. baking a better batch, and replacing the model while customers ask")
        _, better = bake_run("batch-better", BETTER, data, dataset)
        second = hr.register_model(better, MODEL)
        customers = Customers(url, data.test)
        customers.start()
        try:
            time.sleep(0.5)
            hr.promote(MODEL, second.version)
            wait_for_promotion(events, second.version)
            hr.deployments.wait(MODEL, version=second.version, timeout=60)
            time.sleep(0.5)
        finally:
            customers.stop()
    return report(best, customers, str(first.version), str(second.version))


def bake_run(name: str, recipe: Recipe, data: Data, dataset: hr.Dataset) -> tuple[str, hr.LoggedModel]:
    """Bakes one batch as one run: params in, metrics while it bakes, picture and model at the end."""
    with hr.start_run(name, experiment="cookie-factory") as run:
        run.log_params(vars(recipe))
        run.log_input(dataset, context="training")
        model = bake(data, recipe, lambda minute, metrics: run.log(metrics, step=minute))
        run.log({f"test_{key}": value for key, value in taste(model, data.test, data.test_quality).items()})
        run.log_figure(picture(model, data), "plots/qualities.png")
        logged = run.log_model(
            model,
            signature=hr.infer_signature(data.train, model.predict(data.train)),
            input_example=data.test.head(2),
        )
    return run.id, logged


def picture(model: Pipeline, data: Data) -> plt.Figure:
    """Which qualities were taken for which."""
    display = ConfusionMatrixDisplay.from_estimator(model, data.test, data.test_quality, colorbar=False)
    plt.close(display.figure_)
    return display.figure_


def wait_for_promotion(events: hr.Subscription, version: int) -> None:
    """Until the event of this version's promotion arrives."""
    for event in events.within(seconds=30):
        if event.message.version.version == version:
            print(f"   event {event.type.rpartition('.')[2]}: {event.subject}")
            return
    raise TimeoutError(f"no promotion event for version {version} within 30 s")


def report(best: hr.Run, customers: Customers, old: str, new: str) -> int:
    """The closing lines; 1 when a request failed or the change was not seen."""
    changed = customers.versions.index(new) if new in customers.versions else -1
    by_old, by_new = customers.versions.count(old), customers.versions.count(new)
    say("5. done")
    print(f"best of the first batches: {best.name} (test_f1 {best.metrics['test_f1']:.3f})")
    print(f"serving now:               {MODEL} version {new}")
    print(f"answers during the change: {by_old} by version {old}, then {by_new} by version {new}")
    print(f"requests sent: {customers.sent}, failed: {len(customers.failures)}")
    for failure in customers.failures[:3]:
        print(f"   failed: {failure}", file=sys.stderr)
    return 1 if customers.failures or changed < 0 or not by_old else 0


def say(text: str) -> None:
    """A heading."""
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
