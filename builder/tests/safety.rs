//! Folders are made as a whole or not at all, whatever stands in the place, however many builds run at once and wherever
//! one is killed.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{RawCorpus, edit, three_rows};
use mkgc_builder::build::{Allowed, BuildOptions, build, build_viewed};
use mkgc_builder::verify::{other_files, require_intact};

/// What is hidden beside a finished folder.
const NOTHING: [PathBuf; 0] = [];

/// Returns the options of a build of the same corpus into another folder beside the first.
fn beside(raw: &RawCorpus, out: &str) -> BuildOptions {
    BuildOptions { out: raw.dir.path().join(out), ..raw.options.clone() }
}

/// Returns the error of a build.
fn refused(options: &BuildOptions) -> String {
    build(options).unwrap_err().to_string()
}

/// Returns what is in a folder and hidden.
fn hidden(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut hidden: Vec<PathBuf> =
        paths.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with('.')).collect();
    hidden.sort();
    hidden
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

/// A copy of a folder under construction has the note of a live process but not its lock, as if the process were dead.
#[test]
fn what_dead_builds_left_is_removed_and_what_live_ones_build_is_not() {
    let raw = three_rows();
    let dir = raw.dir.path();
    let dead = |name: &str| dir.join(format!(".mkgc-build-{name}"));
    let waiting = AtomicBool::new(true);
    let view = |_: &str, _: &image::RgbImage| {
        if waiting.swap(false, Ordering::SeqCst) {
            let own = hidden(dir);
            assert_eq!(own.len(), 1);
            for name in ["here", "abroad", "old-abroad"] {
                copy(&own[0], &dead(name));
            }
            let host = |name: &str| dead(name).join("build.json");
            for name in ["abroad", "old-abroad"] {
                edit(&host(name), "\"host\":\"", "\"host\":\"not-");
            }
            edit(&host("old-abroad"), "\"started\":1", "\"started\":");
            for (name, file) in [("unknown", "x"), ("damaged", "build.json")] {
                fs::create_dir(dead(name)).unwrap();
                fs::write(dead(name).join(file), "x").unwrap();
            }
            build(&beside(&raw, "second")).unwrap();
            assert!(own[0].exists(), "a live build lost its folder");
        }
        Ok(())
    };
    build_viewed(&raw.options, &view).unwrap();
    assert!(!waiting.into_inner());
    require_intact(&raw.options.out).unwrap();
    require_intact(&dir.join("second")).unwrap();
    assert_eq!(hidden(dir), [dead("abroad"), dead("damaged"), dead("unknown")]);
}

#[test]
fn a_folder_that_a_dead_build_had_moved_aside_is_put_back() {
    let raw = three_rows();
    let dir = raw.dir.path();
    build(&beside(&raw, "moved")).unwrap();
    let left = dir.join(".mkgc-build-left");
    let waiting = AtomicBool::new(true);
    let view = |_: &str, _: &image::RgbImage| {
        if waiting.swap(false, Ordering::SeqCst) {
            copy(&hidden(dir)[0], &left);
            edit(&left.join("build.json"), "\"out\":\"out\"", "\"out\":\"moved\"");
            fs::rename(dir.join("moved"), left.join("old")).unwrap();
        }
        Ok(())
    };
    build_viewed(&raw.options, &view).unwrap();
    assert!(left.exists() && !dir.join("moved").exists());
    build(&beside(&raw, "third")).unwrap();
    assert_eq!(hidden(dir), NOTHING);
    require_intact(&dir.join("moved")).unwrap();
}

const KILLED: &str = "MKGC_TEST_KILLED_BUILD";

/// Does nothing by itself. The next test runs it in a process of its own, where its build waits to be killed.
#[test]
fn a_build_that_waits_to_be_killed() {
    let Some(protocol) = std::env::var_os(KILLED).map(PathBuf::from) else { return };
    let dir = protocol.parent().unwrap();
    let mut options = BuildOptions::new(protocol.to_string_lossy(), dir.join("raw"), dir.join("killed"));
    options.allow = vec![Allowed::EqualSplits];
    let wait = |_: &str, _: &image::RgbImage| {
        fs::write(dir.join("ready"), "").unwrap();
        thread::sleep(Duration::from_secs(60));
        Err("nobody has killed it".to_owned())
    };
    build_viewed(&options, &wait).unwrap();
}

#[test]
fn the_next_build_removes_what_a_killed_one_left() {
    let raw = three_rows();
    let dir = raw.dir.path();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_build_that_waits_to_be_killed"]).env(KILLED, &raw.options.protocol);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !dir.join("ready").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the build ended");
        thread::sleep(Duration::from_millis(5));
    }
    build(&beside(&raw, "first")).unwrap();
    assert_eq!(hidden(dir).len(), 1, "a build of a live process is left alone");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(hidden(dir).len(), 1);
    build(&beside(&raw, "second")).unwrap();
    assert_eq!(hidden(dir), NOTHING);
    assert!(!dir.join("killed").exists());
}

/// Runs eight builds into one folder at once.
fn at_once(options: &BuildOptions) -> Vec<Result<(), String>> {
    let one = || build(options).map(drop).map_err(|error| error.to_string());
    thread::scope(|scope| {
        let builds: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        builds.into_iter().map(|build| build.join().unwrap()).collect()
    })
}

#[test]
fn of_many_builds_into_one_folder_one_wins_and_the_others_say_so() {
    let raw = three_rows();
    let results = at_once(&raw.options);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for error in results.into_iter().filter_map(Result::err) {
        assert!(error.contains("exists already; choose another --out, or replace it with --force"), "{error}");
    }
    require_intact(&raw.options.out).unwrap();
    assert_eq!(other_files(&raw.options.out).unwrap(), [""; 0]);
    assert_eq!(hidden(raw.dir.path()), NOTHING);
}

#[test]
fn many_forced_builds_into_one_folder_end_in_one_whole_folder() {
    let mut raw = three_rows();
    build(&raw.options).unwrap();
    raw.options.force = true;
    let results = at_once(&raw.options);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    require_intact(&raw.options.out).unwrap();
    assert_eq!(other_files(&raw.options.out).unwrap(), [""; 0]);
    assert_eq!(hidden(raw.dir.path()), NOTHING);
}

#[test]
fn a_folder_that_appears_during_a_build_is_kept() {
    let raw = three_rows();
    for (n, (other, force, message)) in [
        ("manifest.json", false, "exists already; choose another --out"),
        ("thesis.txt", false, "exists already; choose another --out"),
        ("thesis.txt", true, "is not a benchmark folder, so --force does not replace it"),
    ]
    .into_iter()
    .enumerate()
    {
        let options = BuildOptions { force, ..beside(&raw, &n.to_string()) };
        let path = options.out.join(other);
        let view = |_: &str, _: &image::RgbImage| {
            fs::create_dir_all(&options.out).unwrap();
            fs::write(&path, "mine").unwrap();
            Ok(())
        };
        let error = build_viewed(&options, &view).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(hidden(raw.dir.path()), NOTHING);
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_kept_and_what_it_points_to_is_replaced() {
    use std::os::unix::fs::symlink;
    let mut raw = three_rows();
    let dir = raw.dir.path().to_owned();
    let link = dir.join("link");
    raw.options.out = link.clone();
    // To nothing.
    symlink("disk/data", &link).unwrap();
    let error = refused(&raw.options);
    assert!(error.contains("link: is a symbolic link that leads to no folder; make the folder"), "{error}");
    // To an empty folder.
    fs::create_dir_all(dir.join("disk/data")).unwrap();
    build(&raw.options).unwrap();
    assert!(link.is_symlink());
    require_intact(&dir.join("disk/data")).unwrap();
    // To a benchmark, also with a slash at the end.
    assert!(refused(&raw.options).contains("--force"));
    fs::write(dir.join("disk/data/README.md"), "damaged").unwrap();
    raw.options.out = PathBuf::from(format!("{}/", link.display()));
    assert!(refused(&raw.options).contains("--force"));
    raw.options.force = true;
    build(&raw.options).unwrap();
    assert!(link.is_symlink());
    require_intact(&dir.join("disk/data")).unwrap();
    assert_eq!(fs::read_dir(dir.join("disk")).unwrap().count(), 1);
    // To a file.
    fs::write(dir.join("file"), "mine").unwrap();
    raw.options.out = dir.join("to-file");
    symlink("file", &raw.options.out).unwrap();
    assert!(refused(&raw.options).contains("is a file where a folder is to be made"));
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "mine");
}

#[test]
fn every_place_is_used_or_refused_with_a_remedy() {
    let mut raw = three_rows();
    let dir = raw.dir.path().to_owned();
    let place = |path: &str| PathBuf::from(format!("{}/{path}", dir.display()));
    fs::create_dir(dir.join("empty")).unwrap();
    fs::write(dir.join("file"), "mine").unwrap();
    for out in ["empty", "new/", "a/b/c", "a/./d//"] {
        raw.options.out = place(out);
        build(&raw.options).unwrap();
        require_intact(&raw.options.out).unwrap();
    }
    for force in [false, true] {
        raw.options.force = force;
        for (out, message) in [
            (place("file"), "is a file where a folder is to be made; choose another --out"),
            (place("file/new/x"), "file: is not a folder, so nothing can be made in it"),
            (place("nowhere/.."), "names no folder"),
            (PathBuf::new(), "--out \"\" names no folder"),
            (PathBuf::from("."), "is the current folder or around it"),
            (PathBuf::from("/"), "is the current folder or around it"),
        ] {
            raw.options.out = out;
            let error = refused(&raw.options);
            assert!(error.contains(message), "{error}");
        }
    }
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "mine");
    assert!(!dir.join("nowhere").exists());
}

#[test]
fn a_build_that_fails_on_its_way_leaves_nothing_and_names_the_folder() {
    let raw = three_rows();
    let dir = raw.dir.path();
    let options = beside(&raw, "a/b/out");
    let error = build_viewed(&options, &|_, _| Err("no room".to_owned())).unwrap_err().to_string();
    assert!(error.contains("no room") && !dir.join("a").exists(), "{error}");
    // Somebody deletes the folder under construction.
    let above = dir.join("a/b");
    let view = |_: &str, _: &image::RgbImage| {
        hidden(&above).iter().for_each(|folder| drop(fs::remove_dir_all(folder)));
        Ok(())
    };
    let error = build_viewed(&options, &view).unwrap_err().to_string();
    assert!(error.contains("a/b/out: cannot be written: ") && error.contains("give the command again"), "{error}");
    assert!(!dir.join("a").exists());
}

/// Nothing can be made in `/proc`, not even by an administrator.
#[cfg(target_os = "linux")]
#[test]
fn a_place_that_cannot_be_written_is_named() {
    let raw = three_rows();
    for out in ["/proc/out", "/proc/a/out"] {
        let error = refused(&BuildOptions { out: out.into(), ..raw.options.clone() });
        assert!(error.starts_with(&format!("{out}: cannot be written: ")), "{error}");
    }
}
