//! Tells `mkgc --version` which commit and which features it is built of. The commit is `MKGC_COMMIT` where it is set, as
//! packagers do; else that of the git repository which tracks this file; else what `cargo package` noted. Without any of
//! these it is unknown. Nothing depends on the time or the place of the build. A build without optimisation does not ask
//! git, because it would compile everything again after each commit.

use std::path::Path;
use std::process::Command;

/// What a package made of a commit says of it.
const NOTE: &str = ".cargo_vcs_info.json";

fn main() {
    println!("cargo::rerun-if-env-changed=MKGC_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let given = std::env::var("MKGC_COMMIT").ok().filter(|commit| !commit.is_empty());
    let released = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let repository = || if released { from_git() } else { None };
    let commit = given.or_else(repository).or_else(from_note).map(|commit| commit.chars().take(12).collect());
    println!("cargo::rustc-env=MKGC_BUILD_COMMIT={}", commit.unwrap_or_else(|| "unknown".to_owned()));
    let features: &str = if std::env::var_os("CARGO_FEATURE_CUDA").is_some() { "cuda" } else { "none" };
    println!("cargo::rustc-env=MKGC_BUILD_FEATURES={features}");
}

/// Returns what a git command prints here; none without git or outside a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// Returns the commit of the repository that tracks this file, and asks to run again when it changes. Sources that were
/// unpacked within another repository are not of its commit.
fn from_git() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    let mut watched = vec!["HEAD".to_owned(), "packed-refs".to_owned()];
    watched.extend(git(&["symbolic-ref", "--quiet", "HEAD"]));
    for path in watched.iter().filter_map(|name| git(&["rev-parse", "--git-path", name])) {
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

/// Returns the commit that `cargo package` noted.
fn from_note() -> Option<String> {
    if !Path::new(NOTE).exists() {
        return None;
    }
    println!("cargo::rerun-if-changed={NOTE}");
    let note = std::fs::read_to_string(NOTE).ok()?;
    let (_, rest) = note.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}
