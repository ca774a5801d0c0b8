//! Text layout of the published splits (zjunlp/ContinueMKGC): `sep10/ours_train_0.txt`, `sep-PLOM/train_0.txt`, CRLF.

use std::path::{Path, PathBuf};

use crate::corpus::{Split, TaskKind, mnre_line, twitter2017_record};
use crate::dataset::{Benchmark, Manifest, Row, RowLabels};
use crate::error::{Error, Result};

/// Writes a built benchmark as the authors' text files below `out`; returns their paths. Existing files with other
/// content are an error, so that two protocols never mix.
///
/// # Errors
/// Not a benchmark folder, damaged rows, a file in the way, or a disk that cannot be written.
pub fn continuemkgc(dir: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    let benchmark = Benchmark::open(dir)?;
    let manifest = benchmark.manifest();
    let folder = out.join(&manifest.published);
    fs_err::create_dir_all(&folder)?;
    let mut written = Vec::new();
    for task in 0..manifest.tasks.len() {
        for split in Split::ALL {
            let rows = benchmark.rows(task, split)?;
            let text: String = rows.iter().map(|row| record(row, manifest)).collect();
            let path = folder.join(file_name(task, split, manifest.task));
            if path.exists() && fs_err::read(&path)? != text.as_bytes() {
                return Err(Error::dataset(&path, "exists with other content; choose another --out"));
            }
            let partial = path.with_extension("partial");
            fs_err::write(&partial, text)?;
            fs_err::rename(&partial, &path)?;
            written.push(path);
        }
    }
    Ok(written)
}

fn file_name(task: usize, split: Split, kind: TaskKind) -> String {
    match (kind, split) {
        (TaskKind::Re, Split::Validation) => format!("ours_val_{task}.txt"),
        (TaskKind::Re, _) => format!("ours_{split}_{task}.txt"),
        (TaskKind::Ner, Split::Validation) => format!("valid_{task}.txt"),
        (TaskKind::Ner, _) => format!("{split}_{task}.txt"),
    }
}

fn record(row: &Row, manifest: &Manifest) -> String {
    match &row.labels {
        RowLabels::Relation { head, tail, relation, .. } => {
            mnre_line(&row.tokens, head, tail, &row.image_id, &manifest.labels[*relation]) + "\r\n"
        }
        RowLabels::Entities { tags, .. } => {
            let tags: Vec<&str> = tags.iter().map(|tag| manifest.labels[*tag].as_str()).collect();
            twitter2017_record(&row.tokens, &tags, &row.image_id)
        }
    }
}
