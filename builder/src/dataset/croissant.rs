//! Writes `croissant.json`, which describes the folder in the Croissant 1.0 vocabulary
//! (<https://docs.mlcommons.org/croissant>).

use serde_json::{Value, json};

use super::layout::{CROPS_FILE, IMAGES_FILE};
use super::manifest::{Manifest, ManifestFile};
use super::schema::{ColumnKind, ColumnSpec, crop_columns, image_columns, row_columns};
use crate::corpus::CorpusReference;
use crate::error::Result;

/// The whole JSON-LD context of Croissant 1.0, which consumers compare term by term.
const CONTEXT: &str = include_str!("croissant_context.json");

/// Describes every Parquet file of a folder.
///
/// # Errors
/// The context is not JSON, which does not happen.
pub fn croissant(manifest: &Manifest, reference: &CorpusReference) -> Result<Value> {
    let parquet: Vec<&ManifestFile> = manifest.files.iter().filter(|file| file.rows.is_some()).collect();
    let columns = |file: &ManifestFile| match file.path.as_str() {
        IMAGES_FILE => image_columns(),
        CROPS_FILE => crop_columns(),
        _ => row_columns(manifest.task, manifest.row_pictures()),
    };
    let mut described = json!({
        "@context": serde_json::from_str::<Value>(CONTEXT)?,
        "@type": "sc:Dataset",
        "name": manifest.name,
        "description": manifest.description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "url": reference.homepage,
        "citeAs": reference.citation,
        "version": "1.0.0",
        "distribution": parquet.iter().map(|file| distribution(file)).collect::<Vec<_>>(),
        "recordSet": parquet.iter().map(|file| record_set(file, &columns(file))).collect::<Vec<_>>(),
    });
    if let Some(license) = &reference.license {
        described["license"] = json!(license);
    }
    Ok(described)
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

fn record_set(file: &ManifestFile, columns: &[ColumnSpec]) -> Value {
    let id = stem(&file.path);
    let fields: Vec<Value> = columns.iter().map(|column| field(id, column)).collect();
    json!({"@type": "cr:RecordSet", "@id": id, "name": id, "field": fields})
}

fn field(record_set: &str, column: &ColumnSpec) -> Value {
    let source = |extra: Option<&str>| {
        let mut source = json!({
            "fileObject": {"@id": format!("{record_set}-file")},
            "extract": {"column": column.name},
        });
        if let Some(path) = extra {
            source["transform"] = json!({"jsonPath": path});
        }
        source
    };
    let id = format!("{record_set}/{}", column.name);
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
