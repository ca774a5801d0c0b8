//! Parquet with column names of the corpus's own, as Hugging Face `datasets`, pandas, polars and duckdb write it.
//!
//! Messages count rows from 1 where other formats count lines.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use bytes::Bytes;
use rayon::prelude::*;

use super::parquet_table::{Table, root, unreadable};
use super::parquet_values::{Feature, PictureNames, values};
use super::raw::{ContainedPictures, Format, Parsed, RawFile};
use super::rows::{Collected, RowFields, RowReader};
use super::value::Value;
use crate::error::{Error, Result};

/// The format of Parquet files whose columns a `[corpus]` table names.
#[derive(Debug, Clone)]
pub(super) struct ParquetRows {
    pub(super) fields: RowFields,
}

impl Format for ParquetRows {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        let damaged = |reason| Error::corpus(file.path, 1, reason);
        let mut table = match same_file(file) {
            Some(opened) => Table::open(opened, &self.fields.paths()),
            None => Table::open(Bytes::copy_from_slice(file.bytes), &self.fields.paths()),
        }
        .map_err(damaged)?;
        let (class, labels) = self.fields.class_field();
        let declared =
            class.and_then(|path| Feature::of(&table.features).at(&path.0).labels()).unwrap_or(labels.to_vec());
        let reader = RowReader::new(&self.fields, file);
        let mut names = PictureNames::default();
        let mut records = Collected::default();
        let image = self.fields.image().map(|path| path.0.as_str());
        while let Some(batch) = table.next_batch() {
            let rows = rows(&batch.map_err(damaged)?, &table.features, image, &mut names);
            let rows = rows.map_err(|_| damaged(unreadable()))?;
            let first = records.len();
            let read = |(i, record)| reader.read(first + i, first + i + 1, Ok(record));
            records.extend(rows.into_par_iter().enumerate().map(read).collect());
        }
        reader.finish(records, self.fields.declared(&declared))
    }

    fn pictures(&self, path: &Path) -> Result<Option<ContainedPictures>> {
        let Some(image) = self.fields.image() else { return Ok(None) };
        let damaged = |reason| Error::corpus(path, 1, reason);
        let table = Table::open(fs_err::File::open(path)?.into_file(), &[image]).map_err(damaged)?;
        if !table.has_bytes {
            return Ok(None);
        }
        let names = PictureNames::keeping();
        Ok(Some(Box::new(Pictures { table, names, path: path.to_path_buf() })))
    }
}

/// Opens the file on disk that `file.bytes` were read from, so that its columns need not be copied.
fn same_file(file: &RawFile<'_>) -> Option<std::fs::File> {
    let opened = std::fs::File::open(file.path).ok()?;
    (opened.metadata().ok()?.len() == file.bytes.len() as u64).then_some(opened)
}

/// Returns a row for each row of a batch; `image` is the path of the pictures.
fn rows(
    batch: &RecordBatch,
    features: &serde_json::Value,
    image: Option<&str>,
    names: &mut PictureNames,
) -> std::result::Result<Vec<Value>, ArrowError> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    let schema = batch.schema();
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let is_image = image.is_some_and(|path| root(path, &schema) == Some(field.name()));
        let names = is_image.then_some(&mut *names);
        columns.push((field.name(), values(array, Feature::of(features).at(field.name()), names)?.into_iter()));
    }
    let row = |_| {
        let cells = columns.iter_mut().map(|(name, cells)| ((*name).clone(), cells.next().unwrap_or_default()));
        Value::Object(cells.collect())
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

/// The pictures of a file, each once.
struct Pictures {
    table: Table,
    names: PictureNames,
    path: PathBuf,
}

impl Iterator for Pictures {
    type Item = Result<(String, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(picture) = self.names.kept.as_mut().and_then(VecDeque::pop_front) {
                return Some(Ok(picture));
            }
            let read = self.table.next_batch()?.and_then(|batch| {
                let features = Feature::of(&self.table.features);
                let mut arrays = batch.columns().iter();
                let named = arrays.try_for_each(|array| values(array, features, Some(&mut self.names)).map(drop));
                named.map_err(|_| unreadable())
            });
            if let Err(reason) = read {
                return Some(Err(Error::corpus(&self.path, 1, reason)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, DictionaryArray, Int64Array, LargeStringArray, ListArray, StringArray, StringViewArray,
        StructArray,
    };
    use arrow::datatypes::{DataType, Field as Column, Int32Type, Int64Type, Schema};
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::bio::Tags;
    use crate::corpus::format::from_table;
    use crate::corpus::types::{Annotation, Instance, Relation};

    /// Writes a Parquet file with the features of `datasets`.
    fn file(features: &str, columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
        let fields: Vec<Column> =
            columns.iter().map(|(name, array)| Column::new(*name, array.data_type().clone(), true)).collect();
        let info = format!(r#"{{"info": {{"features": {features}}}}}"#);
        let schema = Arc::new(Schema::new(fields).with_metadata([("huggingface".to_owned(), info)]));
        let batch =
            RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, array)| array).collect()).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn numbers(lists: &[&[i64]]) -> ArrayRef {
        let lists = lists.iter().map(|list| Some(list.iter().map(|number| Some(*number))));
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
    }

    fn words(lists: &[&[&str]]) -> ArrayRef {
        let lengths = lists.iter().map(|list| list.len());
        let texts: StringArray = lists.iter().flat_map(|list| list.iter()).map(|word| Some(*word)).collect();
        let item = Arc::new(Column::new("element", DataType::Utf8, true));
        Arc::new(ListArray::new(item, arrow::buffer::OffsetBuffer::from_lengths(lengths), Arc::new(texts), None))
    }

    fn format(options: &str) -> Arc<dyn Format> {
        from_table("parquet", toml::from_str(options).unwrap()).unwrap().format
    }

    fn parse(options: &str, bytes: &[u8]) -> Result<Parsed> {
        format(options).parse(&RawFile { path: Path::new("no/a.parquet"), bytes, classes: &[], none: "none" })
    }

    fn rows(parsed: Parsed) -> Vec<Instance> {
        parsed.records.into_iter().map(Result::unwrap).collect()
    }

    const RELATION: &str = r#"{"relation": {"names": ["none", "P6", "P1"], "_type": "ClassLabel"}}"#;

    fn relations(relation: ArrayRef, text: ArrayRef) -> Vec<u8> {
        let pos = |spans: &[&[i64]]| {
            let field = Arc::new(Column::new("pos", numbers(spans).data_type().clone(), true));
            Arc::new(StructArray::from(vec![(field, numbers(spans))])) as ArrayRef
        };
        let head = pos(&[&[0, 1], &[1, 2]]);
        let tail = pos(&[&[1, 2], &[0, 1]]);
        file(RELATION, vec![("relation", relation), ("text", text), ("h", head), ("t", tail)])
    }

    const RELATION_KEYS: &str = "text = 'text'\nhead = 'h.pos'\ntail = 't.pos'\nspan_end = 'exclusive'";

    #[test]
    fn relations_are_read_from_every_layout_of_strings() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![2, 0]));
        let names: ArrayRef = Arc::new(["P1", "none"].into_iter().collect::<DictionaryArray<Int32Type>>());
        let texts: [ArrayRef; 3] = [
            Arc::new(StringArray::from(vec!["Ann  Bob", "c d"])),
            Arc::new(LargeStringArray::from(vec!["Ann  Bob", "c d"])),
            Arc::new(StringViewArray::from(vec!["Ann  Bob", "c d"])),
        ];
        for relation in [&ids, &names] {
            for text in &texts {
                let parsed = parse(RELATION_KEYS, &relations(relation.clone(), text.clone())).unwrap();
                assert_eq!(parsed.classes, ["none", "P6", "P1"]);
                let rows = rows(parsed);
                assert_eq!(rows[0].tokens.to_vec(), ["Ann", "Bob"]);
                assert_eq!([rows[1].row, rows[1].line], [1, 2]);
                let Annotation::Relation(relation) = &rows[0].annotation else { panic!() };
                let Relation { head, tail, relation } = &**relation;
                assert_eq!([&*head.name, &*tail.name], ["Ann", "Bob"]);
                assert_eq!(relation.as_deref(), Some("P1"));
                let Annotation::Relation(relation) = &rows[1].annotation else { panic!() };
                let relation = &relation.relation;
                assert_eq!(*relation, None);
            }
        }
    }

    #[test]
    fn tags_are_named_and_converted() {
        let features =
            r#"{"ner_tags": {"feature": {"names": ["O", "I-PER", "I-LOC"], "_type": "ClassLabel"}, "_type": "List"}}"#;
        let tokens = words(&[&["Ann", "Lee"], &["in", "Rome"]]);
        let bytes = file(features, vec![("tokens", tokens), ("ner_tags", numbers(&[&[1, 1], &[0, 2]]))]);
        let parsed = parse("tags = 'ner_tags'", &bytes).unwrap();
        assert_eq!(parsed.classes, ["PER", "LOC"]);
        assert_eq!(
            parsed.notes,
            ["tags are IO (found from the tags) and were converted to BIO, which changed 2 of them"]
        );
        let rows = rows(parsed);
        assert_eq!(rows[0].annotation, Annotation::Entities(Tags::new(["B-PER", "I-PER"]).unwrap()));
        assert_eq!(rows[1].annotation, Annotation::Entities(Tags::new(["O", "B-LOC"]).unwrap()));
    }

    fn images(paths: [Option<&str>; 4], bytes: [Option<&[u8]>; 4]) -> Vec<u8> {
        let bytes: ArrayRef = Arc::new(BinaryArray::from(bytes.to_vec()));
        let paths: ArrayRef = Arc::new(StringArray::from(paths.to_vec()));
        let field = |name: &str, array: &ArrayRef| Arc::new(Column::new(name, array.data_type().clone(), true));
        let image = StructArray::from(vec![(field("bytes", &bytes), bytes), (field("path", &paths), paths)]);
        let tokens = words(&[&["a"], &["b"], &["c"], &["d"]]);
        let tags = words(&[&["O"], &["O"], &["O"], &["O"]]);
        file("{}", vec![("image", Arc::new(image)), ("tokens", tokens), ("tags", tags)])
    }

    #[test]
    fn pictures_are_named_as_their_rows_name_them() {
        let options = "tags = 'tags'\nimage = 'image'";
        let gif = b"GIF89a".as_slice();
        let bytes = images(
            [Some("x/1.jpg"), Some("1.jpg"), Some("y/1.jpg"), None],
            [Some(b"one"), Some(b"one"), Some(b"two"), Some(gif)],
        );
        let names: Vec<_> =
            rows(parse(options, &bytes).unwrap()).into_iter().map(|row| String::from(row.image.unwrap())).collect();
        assert_eq!(names[..2], ["1.jpg", "1.jpg"]);
        assert!(names[2].ends_with("-1.jpg") && names[3].ends_with(".gif"), "{names:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        std::fs::write(&path, &bytes).unwrap();
        let pictures = format(options).pictures(&path).unwrap().unwrap();
        let pictures: Vec<_> = pictures.map(Result::unwrap).collect();
        let expected = [(&names[0], b"one".as_slice()), (&names[2], b"two"), (&names[3], gif)];
        assert_eq!(pictures, expected.map(|(name, bytes)| (name.clone(), bytes.to_vec())));
        let read = std::fs::read(&path).unwrap();
        let on_disk = format(options).parse(&RawFile { path: &path, bytes: &read, classes: &[], none: "O" }).unwrap();
        assert_eq!(rows(on_disk).into_iter().map(|row| String::from(row.image.unwrap())).collect::<Vec<_>>(), names);
        assert!(format("tags = 'tags'").pictures(&path).unwrap().is_none());
    }

    #[test]
    fn pictures_in_a_folder_are_named_by_their_path() {
        let options = "tags = 'tags'\nimage = 'image'";
        let bytes = images([Some("x/1.jpg"), Some("2.jpg"), Some("3.jpg"), None], [None; 4]);
        let records = parse(options, &bytes).unwrap().records;
        assert_eq!(records[0].as_ref().unwrap().image.as_deref(), Some("x/1.jpg"));
        let error = records[3].as_ref().unwrap_err().to_string();
        assert_eq!(error, "no/a.parquet:4: `image`: expected text, found nothing");
    }

    #[test]
    fn damage_is_named() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["Ann Bob", "c"]));
        let bytes = relations(Arc::new(Int64Array::from(vec![7, 1])), text);
        for (options, row, message) in [
            (RELATION_KEYS, 0, "no/a.parquet:1: `relation`: no name is known for number 7"),
            (RELATION_KEYS, 1, "no/a.parquet:2: span [1, 2] of `h.pos` is out of range: the sentence has 1 words"),
        ] {
            let error = parse(options, &bytes).unwrap().records.remove(row).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let missing = RELATION_KEYS.replace("'text'", "'texts'");
        let error = parse(&missing, &bytes).unwrap_err().to_string();
        assert!(
            error.contains("no column `texts` (did you mean `text`?); the file has relation, text, h, t"),
            "{error}"
        );
        let error = parse(RELATION_KEYS, &bytes[..bytes.len() / 2]).unwrap_err().to_string();
        assert_eq!(error, "no/a.parquet:1: not a Parquet file, or a damaged one; fetch or write it again");
    }
}
