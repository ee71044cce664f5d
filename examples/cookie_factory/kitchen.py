"""The kitchen: batches with measured ingredients and a quality, and recipes that learn to tell the quality.

The data is scikit-learn's own wine set (178 batches, 13 measurements, 3 qualities): it ships in the package.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_wine
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

QUALITIES = np.array([0, 1, 2])


@dataclass(frozen=True)
class Data:
    """Ingredients (a frame, a column each) and quality (0 to 2) of the batches to learn from and to test with."""

    train: pd.DataFrame
    train_quality: pd.Series
    test: pd.DataFrame
    test_quality: pd.Series


@dataclass(frozen=True)
class Recipe:
    """How a batch is baked."""

    ingredients: int
    """How many of the measurements are looked at."""
    learning_rate: float
    sweetness: float
    """Regularisation: more of it, and all batches taste the same."""
    minutes: int
    """Passes over the data."""


RECIPES = [
    Recipe(ingredients, learning_rate, sweetness, minutes=5)
    for ingredients in (2, 4, 6)
    for learning_rate in (0.001, 0.01)
    for sweetness in (0.01, 0.5)
]
BETTER = Recipe(ingredients=13, learning_rate=0.01, sweetness=0.001, minutes=40)


def prepare() -> Data:
    """Loads and splits the data, the same way every time."""
    wine = load_wine(as_frame=True)
    train, test, train_quality, test_quality = train_test_split(
        wine.data, wine.target, test_size=0.4, random_state=7, stratify=wine.target
    )
    return Data(train, train_quality, test, test_quality)


def bake(data: Data, recipe: Recipe, each_minute: Callable[[int, dict[str, float]], None]) -> Pipeline:
    """Bakes a batch and tells after every minute how it tastes; returns what can judge new batches."""
    columns = list(data.train.columns[: recipe.ingredients])
    scale = ColumnTransformer([("scale", StandardScaler(), columns)]).fit(data.train)
    judge = SGDClassifier(
        loss="log_loss", learning_rate="constant", eta0=recipe.learning_rate, alpha=recipe.sweetness, random_state=7
    )
    model = Pipeline([("scale", scale), ("judge", judge)])
    scaled = scale.transform(data.train)
    for minute in range(recipe.minutes):
        judge.partial_fit(scaled, data.train_quality, classes=QUALITIES)
        each_minute(minute, taste(model, data.train, data.train_quality))
    return model


def taste(model: Pipeline, ingredients: pd.DataFrame, quality: pd.Series) -> dict[str, float]:
    """How well the model tells the quality of these batches."""
    told = model.predict(ingredients)
    return {
        "accuracy": float(accuracy_score(quality, told)),
        "f1": float(f1_score(quality, told, average="macro")),
        "loss": float(log_loss(quality, model.predict_proba(ingredients), labels=QUALITIES)),
    }
