"""Reads the scores of a report."""

import pathlib

from ._program import Error

# The columns of scores.csv.
COLUMNS = {
    "benchmark": str,
    "method": str,
    "seed": int,
    "tasks_learned": int,
    "metric": str,
    "value": float,
    "instances": int,
    "reason": str,
    "n": int,
    "n_of": int,
    "stand_in": bool,
}
TEXTS = [column for column, kind in COLUMNS.items() if kind is str]
# mkgc writes an apostrophe before text that a spreadsheet would compute as a formula.
MARKED = r"^'('*[-=+@\t\r])"


def check(path, columns):
    """Refuses a file that is not the `scores.csv` of a report."""
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise Error(f"{path}: is not the scores.csv of a report, for it has no column {', '.join(missing)}")


def load_board(report, frame=None):
    """The scores of a report that `mkgc report --out` wrote, as a frame with a row per benchmark, method, seed, metric and task
    (column `tasks_learned`). Where `value` is empty, `reason` says why.

    `report` is the folder of the report, or its `scores.csv` or `board.json`. `frame` is "pandas" or "polars"; by default it is pandas, which
    comes with `datasets`, and polars where pandas is not installed. The means by which entries are ranked:

        board = mkgc.load_board("report")
        board[board.metric == "last_micro_f1"].groupby(["benchmark", "method"]).value.mean()
    """
    path = pathlib.Path(report)
    if path.name == "board.json":
        path = path.parent
    if path.is_dir():
        path = path / "scores.csv"
    if not path.is_file():
        raise Error(f"{path}: no such file; make it with `mkgc report RUNS --out {path.parent}`")
    if frame not in (None, "pandas", "polars"):
        raise ValueError(f"frame={frame!r}: give 'pandas' or 'polars'")
    if frame != "polars":
        try:
            import pandas
        except ImportError:
            if frame:
                raise
        else:
            # A method may be called `NA` or `7`: only an empty field of a number is a missing value.
            missing = {column: [""] for column, kind in COLUMNS.items() if kind in (int, float)}
            board = pandas.read_csv(path, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=missing)
            check(path, board.columns)
            for column in TEXTS:
                board[column] = board[column].str.replace(MARKED, r"\1", regex=True)
            return board
    import polars

    # A seed may be any number of 64 bits.
    board = polars.read_csv(path, schema_overrides={**COLUMNS, "seed": polars.UInt64})
    check(path, board.columns)
    return board.with_columns(polars.col(TEXTS).str.replace(MARKED, "$1"))
