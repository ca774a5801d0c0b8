//! Columns of Parquet files as values: strings, numbers, lists and structs in any of Arrow's layouts, numbers of
//! `ClassLabel` features as their names, and pictures as theirs.

use std::collections::{HashMap, VecDeque};

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use sha2::{Digest, Sha256};

use super::value::Value;
use crate::files::hex;

/// What `datasets` says of a column, in the metadata of the schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Feature<'a>(Option<&'a serde_json::Value>);

impl<'a> Feature<'a> {
    /// Makes the feature that has all columns as fields.
    pub(super) fn of(features: &'a serde_json::Value) -> Self {
        Self(Some(features))
    }

    /// Returns the feature of a field by its dotted path. Fields of a list's items are found, too: `datasets` stores a
    /// sequence of objects as an object of lists.
    pub(super) fn at(self, path: &str) -> Self {
        let field =
            |name: &str| self.0.and_then(|feature| feature.get(name).or_else(|| feature.get("feature")?.get(name)));
        match (field(path), path.split_once('.')) {
            (Some(found), _) => Self(Some(found)),
            (None, Some((first, rest))) => Self(field(first)).at(rest),
            (None, None) => Self(None),
        }
    }

    /// Returns the feature of a list's items.
    fn item(self) -> Self {
        Self(self.0.map(|feature| feature.get("feature").or_else(|| feature.get(0)).unwrap_or(feature)))
    }

    /// Returns the names of a `ClassLabel`, or of the `ClassLabel`s in a list.
    pub(super) fn labels(self) -> Option<Vec<String>> {
        let names = self.names().or_else(|| self.item().names())?;
        Some(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    fn names(self) -> Option<&'a Vec<serde_json::Value>> {
        self.0?.get("names")?.as_array()
    }
}

/// Names the pictures that a file contains: as the file does, if it names no other picture so, or by their SHA-256.
#[derive(Debug, Default)]
pub(super) struct PictureNames {
    /// The picture that each name stands for, by its SHA-256.
    taken: HashMap<String, [u8; 32]>,
    /// Each picture with its name, if they are to be kept.
    pub(super) kept: Option<VecDeque<(String, Vec<u8>)>>,
}

impl PictureNames {
    /// Makes names that keep their pictures.
    pub(super) fn keeping() -> Self {
        Self { kept: Some(VecDeque::new()), ..Self::default() }
    }

    fn name(&mut self, path: Option<&str>, bytes: &[u8]) -> String {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let sum = &hex(&digest)[..16];
        // Paths may be those of the machine that wrote the file.
        let given = path.and_then(|path| path.rsplit(['/', '\\']).next()).filter(|name| !name.is_empty());
        let name = match given {
            Some(name) if self.taken.get(name).is_none_or(|known| *known == digest) => name.to_owned(),
            Some(name) => format!("{sum}-{name}"),
            None => {
                let format = image::guess_format(bytes).ok();
                let extension = format.and_then(|format| format.extensions_str().first()).unwrap_or(&"bin");
                format!("{sum}.{extension}")
            }
        };
        let new = self.taken.insert(name.clone(), digest).is_none();
        if let Some(kept) = self.kept.as_mut().filter(|_| new) {
            kept.push_back((name.clone(), bytes.to_vec()));
        }
        name
    }
}

/// Returns whether values of a type contain bytes.
pub(super) fn has_bytes(of: &DataType) -> bool {
    match of {
        DataType::Struct(fields) => fields.iter().any(|field| has_bytes(field.data_type())),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => has_bytes(item.data_type()),
        DataType::Dictionary(_, of) => has_bytes(of),
        other => is_binary(other),
    }
}

fn is_binary(of: &DataType) -> bool {
    matches!(of, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// Returns the values of a column. Pictures become their names if `names` is given, and null otherwise.
///
/// # Errors
/// An array cannot be brought to the layout that is read.
pub(super) fn values(
    array: &ArrayRef,
    feature: Feature<'_>,
    names: Option<&mut PictureNames>,
) -> Result<Vec<Value>, ArrowError> {
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().iter().map(|value| value.map_or(Value::Null, Value::Bool)).collect(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let texts = cast(array, &DataType::LargeUtf8)?;
            let text = |text: Option<&str>| text.map_or(Value::Null, |text| Value::Text(text.to_owned()));
            texts.as_string::<i64>().iter().map(text).collect()
        }
        DataType::Dictionary(_, of) => values(&cast(array, of)?, feature, names)?,
        DataType::Struct(_) => structs(array.as_struct(), feature, names)?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            lists(&cast(array, &DataType::LargeList(item.clone()))?, feature.item(), names)?
        }
        of if is_binary(of) => match names {
            Some(names) => pictures(array, None, names)?,
            None => vec![Value::Null; array.len()],
        },
        of if of.is_integer() => {
            let labels = feature.names().map(Vec::as_slice).unwrap_or_default();
            let numbers = cast(array, &DataType::Int64)?;
            numbers
                .as_primitive::<Int64Type>()
                .iter()
                .map(|number| number.map_or(Value::Null, |n| named(n, labels)))
                .collect()
        }
        of if of.is_floating() => {
            let numbers = cast(array, &DataType::Float64)?;
            numbers
                .as_primitive::<Float64Type>()
                .iter()
                .map(|number| number.map_or(Value::Null, Value::Float))
                .collect()
        }
        _ => vec![Value::Null; array.len()],
    })
}

/// Returns the name of a label, or its number if it has none.
fn named(number: i64, labels: &[serde_json::Value]) -> Value {
    let name = usize::try_from(number).ok().and_then(|number| labels.get(number)?.as_str());
    name.map_or(Value::Int(number), |name| Value::Text(name.to_owned()))
}

fn lists(array: &ArrayRef, item: Feature<'_>, names: Option<&mut PictureNames>) -> Result<Vec<Value>, ArrowError> {
    let list = array.as_list::<i64>();
    let first = usize::try_from(list.value_offsets().first().copied().unwrap_or(0)).unwrap_or(0);
    let mut items = values(list.values(), item, names)?.into_iter().skip(first);
    let lengths = list.value_offsets().windows(2).map(|pair| usize::try_from(pair[1] - pair[0]).unwrap_or(0));
    let list = |(i, length)| {
        // The items of a null list are passed over.
        let items: Vec<Value> = items.by_ref().take(length).collect();
        if list.is_null(i) { Value::Null } else { Value::List(items) }
    };
    Ok(lengths.enumerate().map(list).collect())
}

fn structs(
    array: &StructArray,
    feature: Feature<'_>,
    mut names: Option<&mut PictureNames>,
) -> Result<Vec<Value>, ArrowError> {
    if let (Some(bytes), Some(path)) = (array.column_by_name("bytes"), array.column_by_name("path"))
        && is_binary(bytes.data_type())
    {
        return match names {
            Some(names) => pictures(bytes, Some(path), names),
            None => Ok(vec![Value::Null; array.len()]),
        };
    }
    let mut columns = Vec::with_capacity(array.num_columns());
    for (field, column) in array.fields().iter().zip(array.columns()) {
        columns.push((field.name(), values(column, feature.at(field.name()), names.as_deref_mut())?.into_iter()));
    }
    let object = |i| {
        let cells = columns.iter_mut().map(|(name, cells)| ((*name).clone(), cells.next().unwrap_or_default()));
        let cells: Vec<(String, Value)> = cells.collect();
        if array.is_null(i) { Value::Null } else { Value::Object(cells) }
    };
    Ok((0..array.len()).map(object).collect())
}

/// Names pictures given as bytes; where there are none, the path is the name of a file.
fn pictures(bytes: &ArrayRef, paths: Option<&ArrayRef>, names: &mut PictureNames) -> Result<Vec<Value>, ArrowError> {
    let bytes = cast(bytes, &DataType::LargeBinary)?;
    let paths = paths.map(|paths| cast(paths, &DataType::LargeUtf8)).transpose()?;
    let paths = paths.as_ref().map(AsArray::as_string::<i64>);
    let path = |i: usize| paths.filter(|paths| paths.is_valid(i)).map(|paths| paths.value(i));
    let name = |(i, bytes): (usize, Option<&[u8]>)| match (bytes, path(i)) {
        (Some(bytes), path) => Value::Text(names.name(path, bytes)),
        (None, Some(path)) => Value::Text(path.to_owned()),
        (None, None) => Value::Null,
    };
    Ok(bytes.as_binary::<i64>().iter().enumerate().map(name).collect())
}
