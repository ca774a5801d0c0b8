//! The place of a benchmark folder: free or replaceable, and taken by a rename.

use std::path::Path;

use crate::dataset::MANIFEST;
use crate::error::{Error, Result};

/// Nothing is at `out`, or, with `force`, a benchmark folder or an empty one: `--force` never deletes anything else.
pub fn replaceable(out: &Path, force: bool) -> Result<()> {
    if !out.exists() {
        return Ok(());
    }
    if !force {
        return Err(Error::dataset(out, "exists already; choose another --out, or replace it with --force"));
    }
    let benchmark = out.is_dir() && (out.join(MANIFEST).is_file() || fs_err::read_dir(out)?.next().is_none());
    if benchmark {
        Ok(())
    } else {
        Err(Error::dataset(out, "is not a benchmark folder, so --force does not replace it"))
    }
}

/// Renames a finished folder to its place; an old one there is moved aside first and deleted last.
pub fn install(folder: tempfile::TempDir, out: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs_err::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    }
    if !out.exists() {
        fs_err::rename(folder.path(), out)?;
        let _moved = folder.keep();
        return Ok(());
    }
    let aside = tempfile::Builder::new().prefix(".mkgc-old-").tempdir_in(parent(out))?;
    let old = aside.path().join("old");
    fs_err::rename(out, &old)?;
    if let Err(error) = fs_err::rename(folder.path(), out) {
        fs_err::rename(&old, out)?;
        return Err(error.into());
    }
    let _moved = folder.keep();
    aside.close()?;
    Ok(())
}

/// The folder that holds `out`.
pub fn parent(out: &Path) -> &Path {
    out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
