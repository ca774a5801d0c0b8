//! Writes `croissant.json`, which describes the folder in the Croissant 1.0 vocabulary
//! (<https://docs.mlcommons.org/croissant>).

use serde_json::{Value, json};

use super::layout::{CROPS_FILE, IMAGES_FILE, TASKS_FOLDER, is_part_of, shards_pattern};
use super::manifest::{Manifest, ManifestFile};
use super::schema::{ColumnKind, ColumnSpec, crop_columns, image_columns, row_columns};
use crate::corpus::CorpusReference;
use crate::error::Result;

/// The whole JSON-LD context of Croissant 1.0, which consumers compare term by term.
const CONTEXT: &str = include_str!("croissant_context.json");

/// Where the fields of a record set are read from.
struct FieldSource {
    /// Name and id of the record set.
    id: String,
    /// The property of a source that names this kind of origin.
    kind: &'static str,
    /// The id of the file or of the set of files in the distribution.
    file: String,
}

/// Describes every Parquet file of a folder; shards of one file are one record set.
///
/// # Errors
/// The context is not JSON, which does not happen.
pub fn croissant(manifest: &Manifest, reference: &CorpusReference) -> Result<Value> {
    // A record set without records is an error to those who read it.
    let parquet: Vec<&ManifestFile> =
        manifest.files.iter().filter(|file| file.rows.is_some_and(|rows| rows > 0)).collect();
    let mut files: Vec<Value> = parquet.iter().map(|file| distribution(file)).collect();
    let tasks = parquet.iter().filter(|file| file.path.starts_with(TASKS_FOLDER));
    let columns = row_columns(manifest.task, manifest.row_pictures());
    let mut record_sets: Vec<Value> =
        tasks.map(|file| record_set(&FieldSource::of_file(stem(&file.path)), &columns)).collect();
    for (file, columns) in [(IMAGES_FILE, image_columns(manifest.images_by_split)), (CROPS_FILE, crop_columns())] {
        match parquet.iter().filter(|entry| is_part_of(file, &entry.path)).count() {
            0 => {}
            1 => record_sets.push(record_set(&FieldSource::of_file(stem(file)), &columns)),
            _ => {
                files.push(shards(file));
                record_sets.push(record_set(&FieldSource::of_shards(stem(file)), &columns));
            }
        }
    }
    let mut described = json!({
        "@context": serde_json::from_str::<Value>(CONTEXT)?,
        "@type": "sc:Dataset",
        "name": manifest.name,
        "description": manifest.description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": license(reference),
        "citeAs": cite_as(manifest, reference),
        "version": version(reference),
        "inLanguage": reference.language,
        "distribution": files,
        "recordSet": record_sets,
    });
    if !reference.homepage.is_empty() {
        described["url"] = json!(reference.homepage);
    }
    if let Some(date) = &reference.published {
        described["datePublished"] = json!(date);
    }
    Ok(described)
}

/// Returns the licence that the corpus states, or that it states none.
fn license(reference: &CorpusReference) -> String {
    let none = || match reference.homepage.as_str() {
        "" => "none stated".to_owned(),
        homepage => format!("none stated; see {homepage}"),
    };
    reference.license.clone().unwrap_or_else(none)
}

/// Returns the citation or, without one, what the corpus is called.
fn cite_as<'a>(manifest: &'a Manifest, reference: &'a CorpusReference) -> &'a str {
    let known = [reference.citation.as_str(), reference.origin.as_str()].into_iter().find(|text| !text.is_empty());
    known.unwrap_or(&manifest.corpus)
}

/// Returns the version of the corpus with its three numbers, as Croissant wants it; the first one if it has none.
fn version(reference: &CorpusReference) -> String {
    let given = reference.version.as_deref().unwrap_or_default().trim_start_matches(['v', 'V']);
    let numbers: Vec<&str> = given.split('.').collect();
    let plain = |number: &&str| number.parse::<u64>().is_ok_and(|value| value.to_string() == **number);
    match numbers.as_slice() {
        numbers @ ([_] | [_, _] | [_, _, _]) if numbers.iter().all(plain) => {
            let padded = numbers.iter().copied().chain(["0", "0"]).take(3);
            padded.collect::<Vec<_>>().join(".")
        }
        _ => "1.0.0".to_owned(),
    }
}

/// Returns the file name without folder and extension: `task_00_train` of `tasks/task_00_train.parquet`.
fn stem(path: &str) -> &str {
    path.rsplit('/').next().and_then(|name| name.strip_suffix(".parquet")).unwrap_or(path)
}

fn distribution(file: &ManifestFile) -> Value {
    json!({
        "@type": "cr:FileObject",
        "@id": format!("{}-file", stem(&file.path)),
        "name": stem(&file.path),
        "contentUrl": file.path,
        "contentSize": format!("{} B", file.bytes),
        "encodingFormat": "application/x-parquet",
        "sha256": file.sha256,
    })
}

/// Describes the shards of a file together.
fn shards(file: &str) -> Value {
    json!({
        "@type": "cr:FileSet",
        "@id": format!("{}-files", stem(file)),
        "name": format!("{}-files", stem(file)),
        "includes": shards_pattern(file),
        "encodingFormat": "application/x-parquet",
    })
}

impl FieldSource {
    fn of_file(stem: &str) -> Self {
        Self { id: stem.to_owned(), kind: "fileObject", file: format!("{stem}-file") }
    }

    fn of_shards(stem: &str) -> Self {
        Self { id: stem.to_owned(), kind: "fileSet", file: format!("{stem}-files") }
    }
}

fn record_set(origin: &FieldSource, columns: &[ColumnSpec]) -> Value {
    let id = &origin.id;
    let fields: Vec<Value> = columns.iter().map(|column| field(origin, column)).collect();
    json!({"@type": "cr:RecordSet", "@id": id, "name": id, "field": fields})
}

fn field(origin: &FieldSource, column: &ColumnSpec) -> Value {
    let source = |extra: Option<&str>| {
        let mut source = json!({
            origin.kind: {"@id": origin.file},
            "extract": {"column": column.name},
        });
        if let Some(path) = extra {
            source["transform"] = json!({"jsonPath": path});
        }
        source
    };
    let id = format!("{}/{}", origin.id, column.name);
    let head = |data_type: &str, source: Value| {
        json!({"@type": "cr:Field", "@id": id, "name": column.name, "description": column.about,
               "dataType": data_type, "source": source})
    };
    let repeated = |mut field: Value| {
        field["repeated"] = json!(true);
        field
    };
    match column.kind {
        ColumnKind::Text => head("sc:Text", source(None)),
        ColumnKind::Texts => repeated(head("sc:Text", source(None))),
        ColumnKind::Int | ColumnKind::Label => head("sc:Integer", source(None)),
        ColumnKind::Labels => repeated(head("sc:Integer", source(None))),
        ColumnKind::Bool => head("sc:Boolean", source(None)),
        ColumnKind::Image => head("sc:ImageObject", source(Some("bytes"))),
        // A Croissant field has one value: the name of the mention, since its words are in `tokens` as well.
        ColumnKind::Mention => head("sc:Text", source(Some("name"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_three_numbers() {
        let spec = crate::corpus::find("mnre").unwrap();
        for (given, written) in [
            (Some("2.0.0"), "2.0.0"),
            (Some("2"), "2.0.0"),
            (Some("v1.1"), "1.1.0"),
            (Some("2021"), "2021.0.0"),
            (Some("1.02"), "1.0.0"),
            (Some("second"), "1.0.0"),
            (None, "1.0.0"),
        ] {
            let reference = CorpusReference { version: given.map(str::to_owned), ..spec.reference.clone() };
            assert_eq!(version(&reference), written, "{given:?}");
        }
    }
}
