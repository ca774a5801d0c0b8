//! Models are found by name in a folder, in the hub's cache, and on a hub.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use mkgc_models::pretrained::{Hub, HubFolder};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const FILES: [&str; 2] = ["config.json", "model.safetensors"];

fn hub(home: &Path, endpoint: &str, offline: &str) -> Hub {
    let variable = |name: &str| match name {
        "HF_HOME" => Some(home.display().to_string()),
        "HF_ENDPOINT" => Some(endpoint.to_owned()),
        "HF_HUB_OFFLINE" => Some(offline.to_owned()),
        "HF_TOKEN" => Some("secret".to_owned()),
        _ => None,
    };
    Hub::from_variables(variable, None)
}

fn offline(home: &Path) -> Hub {
    hub(home, "http://127.0.0.1:1", "1")
}

/// Creates a cached snapshot of `owner/name` on its branch `main`.
fn cached(home: &Path, files: &[&str]) -> PathBuf {
    let repository = home.join("hub/models--owner--name");
    let snapshot = repository.join("snapshots").join(COMMIT);
    fs_err::create_dir_all(&snapshot).unwrap();
    fs_err::create_dir_all(repository.join("refs")).unwrap();
    fs_err::write(repository.join("refs/main"), COMMIT).unwrap();
    files.iter().for_each(|file| fs_err::write(snapshot.join(file), file).unwrap());
    snapshot
}

#[test]
fn the_environment_is_read_as_huggingface_hub_reads_it() {
    let of = |variables: &[(&str, &str)]| {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Hub::from_variables(find, Some("/home/ada".into()))
    };
    let plain = of(&[("HF_HUB_OFFLINE", "0"), ("HF_TOKEN", "")]);
    assert_eq!(plain.cache, Path::new("/home/ada/.cache/huggingface/hub"));
    assert_eq!((plain.endpoint.as_str(), plain.token, plain.offline), ("https://huggingface.co", None, false));
    assert_eq!(of(&[("XDG_CACHE_HOME", "/x")]).cache, Path::new("/x/huggingface/hub"));
    assert_eq!(of(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")]).cache, Path::new("/h/hub"));
    assert_eq!(of(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]).cache, Path::new("/c"));
    assert_eq!(of(&[("HF_ENDPOINT", "http://mirror/")]).endpoint, "http://mirror");
    assert!(of(&[("HF_HUB_OFFLINE", "true")]).offline);
    let home = tempfile::tempdir().unwrap();
    fs_err::write(home.path().join("token"), "stored\n").unwrap();
    let home = home.path().to_str().unwrap();
    assert_eq!(of(&[("HF_HOME", home)]).token.as_deref(), Some("stored"));
    assert_eq!(of(&[("HF_HOME", home), ("HF_TOKEN", "given")]).token.as_deref(), Some("given"));
}

#[test]
fn a_folder_wins_and_a_cached_model_needs_no_network() {
    let home = tempfile::tempdir().unwrap();
    let snapshot = cached(home.path(), &FILES);
    let folder = home.path().to_str().unwrap();
    let local = offline(home.path()).resolve(folder, None, &FILES).unwrap();
    assert_eq!(local, HubFolder { folder: home.path().to_path_buf(), revision: None });
    let expected = HubFolder { folder: snapshot, revision: Some(COMMIT.to_owned()) };
    let unreachable = hub(home.path(), "http://127.0.0.1:1", "0");
    for hub in [offline(home.path()), unreachable] {
        assert_eq!(hub.resolve("owner/name", None, &FILES).unwrap(), expected);
        assert_eq!(hub.resolve(&format!("owner/name@{COMMIT}"), None, &FILES).unwrap(), expected);
        assert_eq!(hub.resolve("owner/name", Some("main"), &FILES).unwrap(), expected);
    }
}

#[test]
fn offline_says_what_is_missing_and_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    cached(home.path(), &FILES[..1]);
    let message = |name: &str| offline(home.path()).resolve(name, None, &FILES).unwrap_err().to_string();
    let part = message("owner/name");
    assert!(part.starts_with("`owner/name` (revision main): HF_HUB_OFFLINE is set"), "{part}");
    assert!(part.contains("models--owner--name lacks model.safetensors; unset it"), "{part}");
    let all = message("bert-base-uncased@v1");
    assert!(all.contains("`bert-base-uncased` (revision v1)"), "{all}");
    assert!(all.contains("models--bert-base-uncased lacks config.json, model.safetensors;"), "{all}");
}

/// A cache that was copied without its refs.
#[test]
fn without_refs_the_only_snapshot_is_meant_and_of_several_one_must_be_named() {
    let home = tempfile::tempdir().unwrap();
    let snapshot = cached(home.path(), &FILES);
    // It is that of `main`, not of another revision.
    let error = offline(home.path()).resolve("owner/name@v1", None, &FILES).unwrap_err().to_string();
    assert!(error.contains("has no refs/v1") && error.ends_with(COMMIT), "{error}");
    fs_err::remove_dir_all(home.path().join("hub/models--owner--name/refs")).unwrap();
    let found = offline(home.path()).resolve("owner/name", None, &FILES).unwrap();
    assert_eq!(found, HubFolder { folder: snapshot.clone(), revision: Some(COMMIT.to_owned()) });
    let other = COMMIT.replace('0', "f");
    fs_err::create_dir(snapshot.with_file_name(&other)).unwrap();
    let error = offline(home.path()).resolve("owner/name", None, &FILES).unwrap_err().to_string();
    assert!(
        error.contains("models--owner--name has no refs/main, which says which of its snapshots that is"),
        "{error}"
    );
    assert!(error.ends_with(&format!("give one of them as `owner/name@COMMIT`: {COMMIT}, {other}")), "{error}");
    assert!(offline(home.path()).resolve(&format!("owner/name@{COMMIT}"), None, &FILES).is_ok());
    // A hub knows what `main` is.
    let unreachable = hub(home.path(), "http://127.0.0.1:1", "0");
    assert!(unreachable.resolve("owner/name", None, &FILES).is_err());
}

/// Where a hub has no `tokenizer.json`, it may have `vocab.txt`.
#[test]
fn the_first_of_several_files_that_a_model_has_is_found() {
    let home = tempfile::tempdir().unwrap();
    let snapshot = cached(home.path(), &["vocab.txt"]);
    let found = offline(home.path()).resolve_any("owner/name", None, &["tokenizer.json", "vocab.txt"]).unwrap();
    assert_eq!(found.folder, snapshot);
    let error = offline(home.path()).resolve_any("owner/name", None, &["a.json", "b.json"]).unwrap_err().to_string();
    assert!(error.contains("lacks a.json"), "{error}");
}

#[test]
fn names_that_no_model_has_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let names = ["./folder", "/no/such/folder", "a/b/c", "", "owner/", "owner/na me", "owner/name@", "owner/name@../x"];
    for name in names {
        let error = offline(home.path()).resolve(name, None, &FILES).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{name}`: is no folder here")), "{error}");
    }
}

/// Answers `requests` requests as the hub does, then stops. Returns the request lines with their tokens.
fn serve(requests: usize, status: &'static str) -> (String, JoinHandle<Vec<String>>) {
    serve_without(&[], requests, status)
}

/// Serves all files but some.
fn serve_without(
    lacking: &'static [&'static str],
    requests: usize,
    status: &'static str,
) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |stream: TcpStream| {
        let lines: Vec<String> =
            BufReader::new(&stream).lines().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
        let file = lines[0].split(' ').nth(1).unwrap().rsplit('/').next().unwrap().to_owned();
        let range = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
        let (first, last) = range.as_deref().and_then(|range| range.split_once('-')).unwrap();
        let first = first.parse::<usize>().unwrap();
        let status = if lacking.contains(&file.as_str()) { "404 Not Found" } else { status };
        let size = file.len();
        let last = last.parse::<usize>().unwrap_or(size - 1);
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{size}\r\nETag: \"{file}-etag\"\r\n\
             X-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n{}",
            last + 1 - first,
            &file[first..=last]
        );
        (&stream).write_all(head.as_bytes()).unwrap();
        let token = lines.iter().any(|line| line.eq_ignore_ascii_case("authorization: Bearer secret"));
        format!("{} {token}", lines[0])
    };
    let thread = std::thread::spawn(move || listener.incoming().take(requests).map(|s| answer(s.unwrap())).collect());
    (address, thread)
}

#[test]
fn files_are_downloaded_once_and_from_one_commit() {
    let home = tempfile::tempdir().unwrap();
    // Each file takes one request for its size and one for its bytes.
    let (address, server) = serve(4, "206 Partial Content");
    let online = hub(home.path(), &address, "0");
    let found = online.resolve("owner/name", None, &FILES).unwrap();
    let line = |revision: &str, file: &str| format!("GET /owner/name/resolve/{revision}/{file} HTTP/1.1 true");
    let first = line("main", FILES[0]);
    let second = line(COMMIT, FILES[1]);
    assert_eq!(server.join().unwrap(), [first.clone(), first, second.clone(), second]);
    assert_eq!(found.revision.as_deref(), Some(COMMIT));
    for file in FILES {
        assert_eq!(fs_err::read_to_string(found.folder.join(file)).unwrap(), file);
    }
    // The server has stopped.
    assert_eq!(online.resolve("owner/name", None, &FILES).unwrap(), found);
    assert_eq!(offline(home.path()).resolve("owner/name", None, &FILES).unwrap(), found);
}

/// `vocab.txt` does not say whether the model keeps upper case.
#[test]
fn a_vocabulary_comes_with_the_options_that_say_how_to_read_it() {
    let home = tempfile::tempdir().unwrap();
    let ordinary = ["config.json", "tokenizer.json", "model.safetensors"];
    // Two requests for each of four files, and two for the file that is missing.
    let (address, server) = serve_without(&["tokenizer.json"], 10, "206 Partial Content");
    let online = hub(home.path(), &address, "0");
    let found = online.resolve_encoder("owner/name", &ordinary).unwrap();
    let files = ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"];
    assert!(files.iter().all(|file| found.folder.join(file).is_file()));
    assert_eq!(server.join().unwrap().len(), 10);
    // The server has stopped.
    assert_eq!(offline(home.path()).resolve_encoder("owner/name", &ordinary).unwrap(), found);
    // The repository may have no options, but a hub that cannot be asked does not say so.
    let home = tempfile::tempdir().unwrap();
    let (address, server) = serve_without(&["tokenizer.json", "tokenizer_config.json"], 9, "206 Partial Content");
    let online = hub(home.path(), &address, "0");
    let found = online.resolve_encoder("owner/name", &ordinary).unwrap();
    assert_eq!(server.join().unwrap().len(), 9);
    assert_eq!(offline(home.path()).resolve_encoder("owner/name", &ordinary).unwrap(), found);
    let error = online.resolve_encoder("owner/name", &ordinary).unwrap_err().to_string();
    assert!(error.contains("cannot be fetched from"), "{error}");
}

#[test]
fn a_file_that_the_cache_lacks_comes_from_the_cached_commit() {
    let home = tempfile::tempdir().unwrap();
    let snapshot = cached(home.path(), &FILES[..1]);
    let (address, server) = serve(2, "206 Partial Content");
    let found = hub(home.path(), &address, "0").resolve("owner/name", None, &FILES).unwrap();
    assert_eq!(found.folder, snapshot);
    assert!(server.join().unwrap().iter().all(|line| line.contains(COMMIT)));
}

#[test]
fn failed_downloads_name_model_file_and_remedy() {
    let home = tempfile::tempdir().unwrap();
    let (address, server) = serve(1, "404 Not Found");
    for endpoint in [address, "http://127.0.0.1:1".to_owned()] {
        let error = hub(home.path(), &endpoint, "0").resolve("owner/name", None, &FILES).unwrap_err().to_string();
        let begin = format!("config.json of `owner/name` (revision main): cannot be fetched from {endpoint}: ");
        assert!(error.starts_with(&begin) && error.contains("check the name, the revision and the network"), "{error}");
        assert_eq!(error.contains("404"), !endpoint.ends_with(":1"), "{error}");
    }
    server.join().unwrap();
}
