"""Reads the scores of a report."""

import pathlib

from ._program import Error


def load_board(report, frame=None):
    """The scores of a report that `mkgc report --out` wrote, as a frame with a row per benchmark, method, seed, metric and task
    (column `tasks_learned`). Where `value` is empty, `reason` says why.

    `report` is the folder of the report or its `scores.csv`. `frame` is "pandas" or "polars"; by default it is pandas, which
    comes with `datasets`, and polars where pandas is not installed. The means by which entries are ranked:

        board = mkgc.load_board("report")
        board[board.metric == "last_micro_f1"].groupby("method").value.mean()
    """
    path = pathlib.Path(report)
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
            # A method may be called `NA` or `None`: only an empty field is a missing value.
            numbers = {column: [""] for column in ("seed", "tasks_learned", "value", "instances")}
            return pandas.read_csv(path, keep_default_na=False, na_values=numbers)
    import polars

    # A column may begin with more empty fields or whole numbers than polars looks at by default.
    return polars.read_csv(path, infer_schema_length=None)
