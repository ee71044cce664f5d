"""Signatures: MLflow's schema JSON, and what data passes."""

import json
import math
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.models import Column, ModelFormatError, SchemaError, Signature, Tensor, infer_signature
from headrace.models.signature import ColumnType

WINE = Signature((Column("double", "alcohol"), Column("long", "year"), Column("string", "grape", required=False)))


def one(kind: ColumnType, *values: object, required: bool = True) -> pd.Series:
    frame = pd.DataFrame({"x": pd.Series(list(values))})
    return Signature((Column(kind, "x", required),)).check(frame)["x"]


def test_reads_what_mlflow_writes_and_writes_it_alike() -> None:
    inputs = '[{"type": "double", "name": "a", "required": true}, {"type": "long", "name": "b", "required": false}]'
    outputs = '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
    signature = Signature.from_dict({"inputs": inputs, "outputs": outputs, "params": None})
    assert signature.inputs == (Column("double", "a"), Column("long", "b", required=False))
    assert signature.outputs == (Tensor("int64", (-1,)),)
    again = signature.to_dict()
    assert json.loads(again["inputs"] or "") == json.loads(inputs)
    assert json.loads(again["outputs"] or "") == json.loads(outputs)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (None, "signature.inputs: must be a JSON list"),
        ("{", "signature.inputs: must be a JSON list"),
        ("[]", "one column or more"),
        ("[3]", r"signature.inputs\[0\]: must be an object"),
        ('[{"type": "complex", "name": "a"}]', r"inputs\[0\].type: must be one of boolean, .*got 'complex'"),
        ('[{"type": "long", "name": 7}]', r"inputs\[0\].name: must be text"),
        ('[{"type": "long", "name": "a"}, {"type": "long"}]', "all named differently or all unnamed"),
        ('[{"type": "tensor", "tensor-spec": {"dtype": "f", "shape": [-1, 2]}}]', "only one of rows of numbers"),
    ],
)
def test_what_is_no_signature_is_named(inputs: str | None, said: str) -> None:
    with pytest.raises(ModelFormatError, match=said):
        Signature.from_dict({"inputs": inputs})


def test_infers_names_types_and_gaps() -> None:
    frame = pd.DataFrame(
        {
            "b": [True, False],
            "i": np.array([1, 2], np.int32),
            "l": [1, 2],
            "f": np.array([1, 2], np.float32),
            "d": [1.0, math.nan],
            "s": ["x", None],
            "t": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "c": pd.Categorical(["x", "y"]),
        }
    )
    signature = infer_signature(frame, np.array([0, 1]))
    assert [(c.name, c.type, c.required) for c in signature.inputs] == [
        ("b", "boolean", True),
        ("i", "integer", True),
        ("l", "long", True),
        ("f", "float", True),
        ("d", "double", False),
        ("s", "string", False),
        ("t", "datetime", True),
        ("c", "string", True),
    ]
    assert signature.outputs == (Column("long"),)
    assert infer_signature(np.zeros((3, 2))).inputs == (Column("double"), Column("double"))
    with pytest.raises(SchemaError, match="column 'z': its type cannot be told"):
        infer_signature(pd.DataFrame({"z": [object(), 1]}))
    with pytest.raises(SchemaError, match="1 or 2 dimensions"):
        infer_signature(np.zeros((2, 2, 2)))


def test_drops_extra_columns_and_keeps_the_order_of_the_model() -> None:
    frame = pd.DataFrame({"noise": [1], "year": [1999], "alcohol": [13]}, index=[7])
    checked = WINE.check(frame)
    assert list(checked.columns) == ["alcohol", "year"]
    assert checked["alcohol"].dtype == np.float64
    assert checked.index.tolist() == [7]


@pytest.mark.parametrize(
    ("frame", "column", "said"),
    [
        (pd.DataFrame({"year": [1]}), "alcohol", "is missing"),
        (pd.DataFrame({"foo": [1]}), "alcohol", "is missing; also missing: year"),
        (pd.DataFrame({"alcohol": ["strong"], "year": [1]}), "alcohol", "row 0 is 'strong' .str., .* takes double"),
        (pd.DataFrame({"alcohol": [True], "year": [1]}), "alcohol", "takes double"),
        (pd.DataFrame({"alcohol": [1.0], "year": [1.5]}), "year", "row 0 is .*1.5.*takes long"),
        (pd.DataFrame({"alcohol": [1.0, 1], "year": [1.0, None]}), "year", "row 1 has no value"),
        (pd.DataFrame({"alcohol": [1.0], "year": [1], "grape": [3]}), "grape", "row 0 is .*3.*takes string"),
        (pd.DataFrame([[1.0, 2]]), 3, "takes 3 columns, got 2"),
        (pd.DataFrame([[1, 1, 2]], columns=["year", "year", "alcohol"]), "year", "more than once"),
    ],
)
def test_names_the_column_that_does_not_fit(frame: pd.DataFrame, column: str | int, said: str) -> None:
    with pytest.raises(SchemaError, match=said) as refused:
        WINE.check(frame)
    assert refused.value.column == column


def test_rows_without_names_go_by_position() -> None:
    assert WINE.check(pd.DataFrame([[12.5, 1999, "merlot"]])).to_dict("records") == [
        {"alcohol": 12.5, "year": 1999, "grape": "merlot"}
    ]
    unnamed = Signature((Column("double"), Column("double")))
    assert unnamed.check(pd.DataFrame({"a": [1], "b": [2]})).to_numpy().tolist() == [[1.0, 2.0]]


def test_floats_take_what_json_cannot_spell() -> None:
    assert one("double", "NaN", "Infinity", "-Infinity", 1, None).tolist()[1:4] == [math.inf, -math.inf, 1.0]
    assert one("float", 1, 2).dtype == np.float32
    with pytest.raises(SchemaError, match="'nan'"):
        one("double", "nan")


def test_whole_numbers_stay_exact_and_in_range() -> None:
    assert one("long", 2**62 + 1).tolist() == [2**62 + 1]
    assert one("long", 3.0).tolist() == [3]
    assert one("integer", 2**31 - 1).dtype == np.int32
    for bad in (2**31, -(2**31) - 1, math.inf, "1"):
        with pytest.raises(SchemaError, match="takes integer"):
            one("integer", bad)
    for bad in (2**63, 1e300):
        with pytest.raises(SchemaError, match="takes long"):
            one("long", bad)


def test_booleans_and_times_are_what_they_are() -> None:
    assert one("boolean", True, False).tolist() == [True, False]
    with pytest.raises(SchemaError, match="takes boolean"):
        one("boolean", 1)
    times = one("datetime", "2024-05-01T12:00:00+02:00", "2024-05-01", None)
    assert times.iloc[0] == pd.Timestamp(2024, 5, 1, 10)
    assert times.isna().tolist() == [False, False, True]
    assert one("datetime", datetime(2024, 5, 1, tzinfo=UTC)).iloc[0] == pd.Timestamp(2024, 5, 1)
    for bad in ("yesterday", 17):
        with pytest.raises(SchemaError, match="takes datetime"):
            one("datetime", bad)


@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=20))
def test_any_long_comes_back_as_it_was(values: list[int]) -> None:
    assert one("long", *values).tolist() == values


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)), min_size=1))
@pytest.mark.parametrize("kind", ["boolean", "integer", "long", "float", "double", "string", "datetime"])
def test_any_value_passes_or_is_refused_by_name(kind: ColumnType, values: list[object]) -> None:
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})
    try:
        checked = Signature((Column(kind, "x"),)).check(frame)
    except SchemaError as refused:
        told = refused.column
    else:
        told, values = "x", values[: len(checked)]
    assert (told, len(values)) == ("x", len(frame))
