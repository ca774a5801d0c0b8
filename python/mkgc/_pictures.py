"""The pictures of a benchmark, as a column of the rows that show them, decoded by `datasets` when they are looked at."""

import os

import datasets
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ._program import Error

#: Row groups and batches hold so many pictures at most, which bounds the memory.
BATCH = 128


class Pictures:
    """Reads pictures from the Parquet files of a benchmark folder."""

    def __init__(self, hello):
        self._data = hello["data"]
        self._images = hello["images"]
        self._ids = {}

    def added(self, rows, split, task):
        """`rows` of a task and split with a column `image`; those without a picture have None. If the folder has no pictures,
        `rows` itself is returned."""
        if not self._images["files"] and not self._images["embedded"]:
            return rows
        column = "id"
        files = self._images["files"]
        if self._images["embedded"]:
            column = "image_id"
            files = [f"tasks/task_{of:02d}_{split}.parquet" for of in self._tasks(rows, split, task)]
        wanted = set(rows["image_id"]) - {None}
        pictures = self._read(files, column, wanted, split)
        cells = [pictures.get(image_id) for image_id in rows["image_id"]]
        return rows.add_column("image", cells, feature=datasets.Image())

    @staticmethod
    def _tasks(rows, split, task):
        """The tasks whose files hold the rows."""
        if split != "test" and "task" in rows.column_names:
            return sorted(set(rows["task"]))
        # Where tests are cumulative, the last file has all rows.
        return range(task, -1, -1)

    def _read(self, files, column, wanted, split):
        pictures = {}
        by_split = self._images["by_split"] and not self._images["embedded"]
        columns = [column, "image", *(["split"] if by_split else [])]
        for file in files:
            path = os.path.join(self._data, file)
            if not os.path.exists(path):
                raise Error(f"{path}: this file with pictures is missing; restore it, or give images=False to go without")
            parquet = pq.ParquetFile(path)
            groups = self._groups(parquet, path, column, wanted - pictures.keys())
            for batch in parquet.iter_batches(BATCH, row_groups=groups, columns=columns) if groups else []:
                if by_split:
                    batch = batch.filter(pc.equal(batch["split"], split))
                ids = batch[column].to_pylist()
                for place, picture in enumerate(ids):
                    if picture in wanted and picture not in pictures:
                        pictures[picture] = batch["image"][place].as_py()
        return pictures

    def _groups(self, parquet, path, column, wanted):
        """The row groups of a file that hold wanted pictures. Names are read once and are small."""
        if path not in self._ids:
            groups = range(parquet.num_row_groups)
            self._ids[path] = [set(parquet.read_row_group(group, [column])[column].to_pylist()) for group in groups]
        return [group for group, ids in enumerate(self._ids[path]) if ids & wanted]
