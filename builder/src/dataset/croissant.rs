//! `croissant.json`: the folder in the Croissant 1.0 vocabulary (<https://docs.mlcommons.org/croissant>).

use serde_json::{Value, json};

use super::schema::{Column, Kind, crop_columns, image_columns, row_columns};
use super::{CROPS_FILE, IMAGES_FILE, Manifest, ManifestFile};
use crate::corpus::CorpusKind;
use crate::error::Result;

/// The JSON-LD context of Croissant 1.0, whole: consumers compare it term by term.
const CONTEXT: &str = include_str!("croissant_context.json");

/// The description of every Parquet file of a folder.
pub fn croissant(manifest: &Manifest) -> Result<Value> {
    let parquet: Vec<&ManifestFile> = manifest.files.iter().filter(|file| file.rows.is_some()).collect();
    let columns = |file: &ManifestFile| match file.path.as_str() {
        IMAGES_FILE => image_columns(),
        CROPS_FILE => crop_columns(),
        _ => row_columns(manifest.task, manifest.embed_images),
    };
    let (url, citation) = match manifest.corpus {
        CorpusKind::Mnre => (
            "https://github.com/thecharm/MNRE",
            "Zheng et al. (2021). Multimodal Relation Extraction with Efficient Graph Alignment. ACM Multimedia.",
        ),
        CorpusKind::Twitter2017 => (
            "https://github.com/jefferyYu/UMT",
            "Lu et al. (2018). Visual Attention Model for Name Tagging in Multimodal Social Media. ACL.",
        ),
    };
    Ok(json!({
        "@context": serde_json::from_str::<Value>(CONTEXT)?,
        "@type": "sc:Dataset",
        "name": manifest.name,
        "description": manifest.description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "url": url,
        "citeAs": citation,
        "version": "1.0.0",
        "distribution": parquet.iter().map(|file| distribution(file)).collect::<Vec<_>>(),
        "recordSet": parquet.iter().map(|file| record_set(file, &columns(file))).collect::<Vec<_>>(),
    }))
}

/// `tasks/task_00_train.parquet` → `task_00_train`.
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

fn record_set(file: &ManifestFile, columns: &[Column]) -> Value {
    let id = stem(&file.path);
    let fields: Vec<Value> = columns.iter().map(|column| field(id, column)).collect();
    json!({"@type": "cr:RecordSet", "@id": id, "name": id, "field": fields})
}

fn field(record_set: &str, column: &Column) -> Value {
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
        Kind::Text => head("sc:Text", source(None)),
        Kind::Texts => repeated(head("sc:Text", source(None))),
        Kind::Int | Kind::Label => head("sc:Integer", source(None)),
        Kind::Labels => repeated(head("sc:Integer", source(None))),
        Kind::Bool => head("sc:Boolean", source(None)),
        Kind::Image => head("sc:ImageObject", source(Some("bytes"))),
        // The words of the span are in `tokens`; its name is the part that reads as text.
        Kind::Mention => head("sc:Text", source(Some("name"))),
    }
}
