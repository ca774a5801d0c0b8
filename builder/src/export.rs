//! Writes the text layout of the published splits (zjunlp/ContinueMKGC), such as `sep10/ours_train_0.txt` and
//! `sep-PLOM/train_0.txt`, with CRLF endings.

use std::path::{Path, PathBuf};

use crate::corpus::format::{mnre, twitter};
use crate::corpus::{Extraction, Split};
use crate::dataset::{BenchmarkFolder, Manifest, Row, RowLabels};
use crate::error::{Error, Result};
use crate::files::{join_inside, write_atomically};

/// Writes a built benchmark as the authors' text files below `out` and returns their paths. An existing file with other
/// content is an error, so that two protocols never mix.
///
/// # Errors
/// `dir` is not a benchmark folder or is damaged; a symbolic link leads out of `out`; a file is in the way or cannot be
/// written.
pub fn continuemkgc(dir: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    let benchmark = BenchmarkFolder::open(dir)?;
    benchmark.check_rows()?;
    let manifest = benchmark.manifest();
    let folder = join_inside(out, &manifest.published)?;
    let mut written = Vec::new();
    for task in 0..manifest.tasks.len() {
        for split in Split::ALL {
            let rows = benchmark.rows(task, split)?;
            let text: String = rows.iter().map(|row| format_row(row, manifest)).collect();
            let path = folder.join(file_name(task, split, manifest.task));
            if path.exists() && fs_err::read(&path)? != text.as_bytes() {
                return Err(Error::dataset(&path, "exists with other content; choose another --out"));
            }
            write_atomically(&path, text.as_bytes())?;
            written.push(path);
        }
    }
    Ok(written)
}

fn file_name(task: usize, split: Split, kind: Extraction) -> String {
    match (kind, split) {
        (Extraction::Relations, Split::Validation) => format!("ours_val_{task}.txt"),
        (Extraction::Relations, _) => format!("ours_{split}_{task}.txt"),
        (Extraction::Entities, Split::Validation) => format!("valid_{task}.txt"),
        (Extraction::Entities, _) => format!("{split}_{task}.txt"),
    }
}

fn format_row(row: &Row, manifest: &Manifest) -> String {
    let image = row.image_id.as_deref().unwrap_or_default();
    match &row.labels {
        RowLabels::Relation { head, tail, relation, .. } => {
            mnre::format_line(&row.tokens, head, tail, image, &manifest.labels[*relation]) + "\r\n"
        }
        RowLabels::Entities { tags, .. } => {
            let tags: Vec<&str> = tags.iter().map(|tag| manifest.labels[*tag].as_str()).collect();
            twitter::format_record(&row.tokens, &tags, image)
        }
    }
}
