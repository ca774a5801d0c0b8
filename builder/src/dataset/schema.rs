//! Columns of the Parquet files, once: as Arrow fields, as Hugging Face features, and (in [`super::croissant`]) as
//! Croissant fields.
//!
//! HF `datasets` uses a declared feature only where the Arrow field equals the feature's own Arrow type exactly, so
//! every field is nullable, class labels are int64, images are `struct<bytes: binary, path: string>`, and the features
//! stand in the metadata of the Arrow schema.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde_json::{Map, Value, json};

use crate::corpus::TaskKind;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// List of text.
    Texts,
    /// 32-bit whole number.
    Int,
    /// True or false.
    Bool,
    /// Label id.
    Label,
    /// List of label ids.
    Labels,
    /// Entity mention: `struct<name: string, start: int32, end: int32>`, words half-open.
    Mention,
    /// Image file bytes and name.
    Image,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Content.
    pub kind: Kind,
    /// For people.
    pub about: &'static str,
}

const fn column(name: &'static str, kind: Kind, about: &'static str) -> Column {
    Column { name, kind, about }
}

/// Columns of a task file.
pub fn row_columns(task: TaskKind, embed_images: bool) -> Vec<Column> {
    let mut columns = vec![
        column("id", Kind::Text, "split and 0-based row number in the full corpus file"),
        column("tokens", Kind::Texts, "words of the sentence"),
    ];
    match task {
        TaskKind::Re => columns.extend([
            column("head", Kind::Mention, "first argument, half-open word span"),
            column("tail", Kind::Mention, "second argument, half-open word span"),
            column("relation", Kind::Label, "relation under the protocol"),
            column("original_relation", Kind::Label, "relation of the corpus"),
        ]),
        TaskKind::Ner => columns.extend([
            column("tags", Kind::Labels, "BIO tag per word under the protocol; masked types are O"),
            column("original_tags", Kind::Labels, "BIO tag per word of the corpus"),
        ]),
    }
    columns.extend([
        column("owner_task", Kind::Int, "0-based task that owns the row; null if none does"),
        column("image_id", Kind::Text, "file name of the picture, key of the images file"),
        column("crops", Kind::Texts, "file names of the visual objects that belong to the row"),
    ]);
    if embed_images {
        columns.push(column("image", Kind::Image, "the picture"));
    }
    columns
}

/// Columns of the images file.
pub fn image_columns() -> Vec<Column> {
    vec![
        column("id", Kind::Text, "file name of the picture"),
        column("image", Kind::Image, "original bytes of the image file"),
        column("width", Kind::Int, "pixels"),
        column("height", Kind::Int, "pixels"),
        column("placeholder", Kind::Bool, "true for a grey stand-in for a missing or broken picture"),
    ]
}

/// Columns of the crops file.
pub fn crop_columns() -> Vec<Column> {
    vec![
        column("id", Kind::Text, "file name of the crop; the same name in another split is another crop"),
        column("split", Kind::Text, "train, validation or test"),
        column("kind", Kind::Text, "grounding or detected"),
        column("image_id", Kind::Text, "file name of the picture it was cut from"),
        column("image", Kind::Image, "original bytes of the crop file"),
        column("width", Kind::Int, "pixels"),
        column("height", Kind::Int, "pixels"),
    ]
}

/// Field name and type of list items, as pyarrow writes them.
fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// Fields of a mention.
pub fn mention_fields() -> Fields {
    vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("start", DataType::Int32, true),
        Field::new("end", DataType::Int32, true),
    ]
    .into()
}

/// Fields of an image.
pub fn image_fields() -> Fields {
    vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)].into()
}

impl Kind {
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

/// The Arrow schema of some columns, with the features of HF `datasets` in its metadata.
pub fn schema(columns: &[Column], labels: &[String]) -> Schema {
    let fields: Vec<Field> = columns.iter().map(|c| Field::new(c.name, c.kind.arrow(), true)).collect();
    let features: Map<String, Value> = columns.iter().map(|c| (c.name.to_owned(), c.kind.feature(labels))).collect();
    let metadata = json!({"info": {"features": features}}).to_string();
    Schema::new(fields).with_metadata(HashMap::from([("huggingface".to_owned(), metadata)]))
}
