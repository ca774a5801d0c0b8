//! The columns of the Parquet files, from which follow the Arrow fields, the Hugging Face features and, in
//! [`super::croissant`], the Croissant fields.
//!
//! Hugging Face `datasets` uses a declared feature only if the Arrow field has exactly the feature's own Arrow type.
//! That is why every field is nullable, class labels are int64, images are `struct<bytes: binary, path: string>`, and
//! the features are in the metadata of the Arrow schema.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde_json::{Map, Value, json};

use crate::corpus::Extraction;

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    Text,
    Texts,
    /// A signed whole number of 32 bits.
    Int,
    Bool,
    /// Id of a label, as a Hugging Face `ClassLabel`.
    Label,
    Labels,
    /// Entity mention `struct<name: string, start: int32, end: int32>`, a half-open span of words.
    Mention,
    /// Bytes and name of an image file.
    Image,
}

/// What the rows of a task file say of their pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowPictures {
    /// They say nothing, because the corpus has no pictures.
    None,
    /// They have the names of the picture and of its crops.
    Named,
    /// They have the names and the bytes of the picture.
    Embedded,
}

impl RowPictures {
    /// Returns what rows say, given whether the corpus has no pictures and whether they are embedded.
    pub fn new(text_only: bool, embedded: bool) -> Self {
        match (text_only, embedded) {
            (true, _) => Self::None,
            (false, true) => Self::Embedded,
            (false, false) => Self::Named,
        }
    }
}

/// A column of a Parquet file.
#[derive(Debug, Clone, Copy)]
pub struct ColumnSpec {
    pub name: &'static str,
    pub kind: ColumnKind,
    /// What a reader should know, for the Croissant description.
    pub about: &'static str,
}

const fn column(name: &'static str, kind: ColumnKind, about: &'static str) -> ColumnSpec {
    ColumnSpec { name, kind, about }
}

/// Returns the columns of a task file.
pub fn row_columns(task: Extraction, pictures: RowPictures) -> Vec<ColumnSpec> {
    let mut columns = vec![
        column("id", ColumnKind::Text, "split and 0-based row number in the full corpus file"),
        column("tokens", ColumnKind::Texts, "words of the sentence"),
    ];
    match task {
        Extraction::Relations => columns.extend([
            column("head", ColumnKind::Mention, "first argument, half-open word span"),
            column("tail", ColumnKind::Mention, "second argument, half-open word span"),
            column("relation", ColumnKind::Label, "relation under the protocol"),
            column("original_relation", ColumnKind::Label, "relation of the corpus"),
        ]),
        Extraction::Entities => columns.extend([
            column("tags", ColumnKind::Labels, "BIO tag per word under the protocol; masked types are O"),
            column("original_tags", ColumnKind::Labels, "BIO tag per word of the corpus"),
        ]),
    }
    columns.push(column("owner_task", ColumnKind::Int, "0-based task that owns the row; null if none does"));
    if pictures == RowPictures::None {
        return columns;
    }
    columns.extend([
        column(
            "image_id",
            ColumnKind::Text,
            "file name of the picture: `id` in the images file, beside the row's split if that file has a column `split`",
        ),
        column("crops", ColumnKind::Texts, "file names of the visual objects that belong to the row"),
    ]);
    if pictures == RowPictures::Embedded {
        columns.push(column("image", ColumnKind::Image, "the picture"));
    }
    columns
}

/// Returns the columns of the images file; `by_split` says whether splits have pictures of their own.
pub fn image_columns(by_split: bool) -> Vec<ColumnSpec> {
    let mut columns = vec![column("id", ColumnKind::Text, "file name of the picture, `image_id` of its rows")];
    if by_split {
        let about =
            "train, validation or test: the split whose rows show it; the same id in another split is another picture";
        columns.push(column("split", ColumnKind::Text, about));
    }
    columns.extend([
        column("image", ColumnKind::Image, "original bytes of the image file"),
        column("width", ColumnKind::Int, "pixels, once the picture is turned as its file states"),
        column("height", ColumnKind::Int, "pixels, once the picture is turned as its file states"),
        column("placeholder", ColumnKind::Bool, "true for a grey stand-in for a missing or broken picture"),
    ]);
    columns
}

/// Returns the columns of the crops file.
pub fn crop_columns() -> Vec<ColumnSpec> {
    vec![
        column("id", ColumnKind::Text, "file name of the crop; the same name in another split is another crop"),
        column("split", ColumnKind::Text, "train, validation or test"),
        column("kind", ColumnKind::Text, "grounding or detected"),
        column("image_id", ColumnKind::Text, "file name of the picture it was cut from"),
        column("image", ColumnKind::Image, "original bytes of the crop file"),
        column("width", ColumnKind::Int, "pixels"),
        column("height", ColumnKind::Int, "pixels"),
    ]
}

/// Returns the type of a list, with the items named as pyarrow names them.
fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// Returns the fields of a mention.
pub fn mention_fields() -> Fields {
    vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("start", DataType::Int32, true),
        Field::new("end", DataType::Int32, true),
    ]
    .into()
}

/// Returns the fields of an image.
pub fn image_fields() -> Fields {
    vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)].into()
}

impl ColumnKind {
    fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Texts => list(DataType::Utf8),
            Self::Int => DataType::Int32,
            Self::Bool => DataType::Boolean,
            Self::Label => DataType::Int64,
            Self::Labels => list(DataType::Int64),
            Self::Mention => DataType::Struct(mention_fields()),
            Self::Image => DataType::Struct(image_fields()),
        }
    }

    fn feature(self, labels: &[String]) -> Value {
        let value = |dtype: &str| json!({"dtype": dtype, "_type": "Value"});
        let label = || json!({"names": labels, "_type": "ClassLabel"});
        match self {
            Self::Text => value("string"),
            Self::Texts => json!({"feature": value("string"), "_type": "List"}),
            Self::Int => value("int32"),
            Self::Bool => value("bool"),
            Self::Label => label(),
            Self::Labels => json!({"feature": label(), "_type": "List"}),
            Self::Mention => json!({"name": value("string"), "start": value("int32"), "end": value("int32")}),
            Self::Image => json!({"_type": "Image"}),
        }
    }
}

/// Returns the Arrow schema of columns, with the features for Hugging Face `datasets` in its metadata.
pub fn schema(columns: &[ColumnSpec], labels: &[String]) -> Schema {
    let fields: Vec<Field> = columns.iter().map(|c| Field::new(c.name, c.kind.arrow(), true)).collect();
    let features: Map<String, Value> = columns.iter().map(|c| (c.name.to_owned(), c.kind.feature(labels))).collect();
    let metadata = json!({"info": {"features": features}}).to_string();
    Schema::new(fields).with_metadata(HashMap::from([("huggingface".to_owned(), metadata)]))
}
