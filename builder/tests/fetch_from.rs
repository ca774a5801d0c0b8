//! Files come through proxies and from places of the user's, and those that are there already are respected.
#![allow(clippy::unwrap_used)]

mod fetching;

use std::fs;
use std::path::Path;

use fetching::server::{Server, answer, cut, ranged};
use fetching::{Place, SIZE, assert_says, content, corpus, file, train};
use mkgc_builder::fetch::{FetchOptions, Network, fetch};
use mkgc_builder::files::sha256_hex;
use mkgc_builder::sources::{self, PublishedFile, Source};

/// Settings with a proxy for http addresses.
fn behind(proxy: &str, no_proxy: &str) -> Network {
    Network::from_variables(|name| match name {
        "HTTP_PROXY" => Some(proxy.to_owned()),
        "NO_PROXY" => Some(no_proxy.to_owned()),
        _ => None,
    })
}

#[test]
fn a_proxy_is_asked_for_the_whole_address_unless_the_host_is_excepted() {
    let server = Server::start(|request, _| ranged(&content(0), request));
    let moved = format!("Location: {}\r\nContent-Length: 0\r\n", server.address("moved.txt"));
    let proxy = Server::start(move |request, before| match request.line.as_str() {
        "GET http://corpus.invalid/train.txt" if before == 0 => cut(ranged(&content(0), request), 50_000),
        "GET http://corpus.invalid/train.txt" => ranged(&content(0), request),
        "GET http://moved.invalid/train.txt" => answer("302 Found", &moved, b""),
        _ => answer("403 Forbidden", "Content-Length: 0\r\n", b""),
    });
    let place = Place::new();
    let options = FetchOptions { network: behind(&proxy.address(""), "127.0.0.1, localhost"), ..place.options() };
    fetch(&train(&["http://corpus.invalid/train.txt".into()]), &options, &|_| ()).unwrap();
    place.assert_fetched();
    assert_eq!(proxy.starts(), [None, Some(50_000)]);
    assert_eq!(proxy.requests()[0].host, "corpus.invalid");
    assert_eq!(proxy.requests()[0].authorization, "");

    // A redirection to a host that is excepted leaves the proxy.
    fs::remove_file(place.path("train.txt")).unwrap();
    fetch(&train(&["http://moved.invalid/train.txt".into()]), &options, &|_| ()).unwrap();
    place.assert_fetched();
    assert_eq!(server.lines(), ["GET /moved.txt"]);

    fs::remove_file(place.path("train.txt")).unwrap();
    let error = fetch(&train(&["http://other.invalid/train.txt".into()]), &options, &|_| ());
    assert_says(&error.unwrap_err().to_string(), &["the server refuses it (status 403)"]);
}

#[test]
fn a_proxy_is_told_who_asks() {
    let proxy = Server::start(|request, _| ranged(&content(0), request));
    let place = Place::new();
    let address = proxy.address("").replace("http://", "http://Aladdin:open%20sesame@");
    let options = FetchOptions { network: behind(&address, ""), ..place.options() };
    fetch(&train(&["http://corpus.invalid/train.txt".into()]), &options, &|_| ()).unwrap();
    place.assert_fetched();
    // The example of RFC 7617, section 2.
    assert_eq!(proxy.requests()[0].authorization, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_to_https_addresses() {
    let proxy = Server::start(|_, _| b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".to_vec());
    let place = Place::new();
    let address = proxy.address("");
    let network = Network::from_variables(|name| (name == "HTTPS_PROXY").then(|| address.clone()));
    let options = FetchOptions { network, ..place.options() };
    let error = fetch(&train(&["https://corpus.invalid/train.txt".into()]), &options, &|_| ()).unwrap_err();
    assert_says(&error.to_string(), &["the proxy lets nothing through", "407"]);
    assert_eq!(proxy.lines(), ["CONNECT corpus.invalid:443"]);
}

/// A corpus of two files, one of which is published under a second name with a space.
fn pair() -> Source {
    let mut val = file("val.txt", &content(1), &["http://dead.invalid/val.txt".into()]);
    val.aliases.push("val .txt".into());
    corpus(vec![file("train.txt", &content(0), &["http://dead.invalid/train.txt".into()]), val])
}

#[test]
fn files_come_from_an_address_of_the_users() {
    let server = Server::start(|request, _| match request.line.as_str() {
        "GET /news/train.txt" => ranged(&content(0), request),
        "GET /news/val%20.txt" | "GET /download?id=7" => ranged(&content(1), request),
        _ => answer("404 Not Found", "Content-Length: 0\r\n", b""),
    });
    for base in ["news", "news/"] {
        let place = Place::new();
        place.fetch_from(&pair(), &server.address(base)).unwrap();
        assert_eq!(place.names(), ["train.txt", "val.txt"]);
    }
    // The address of one file fetches that file, whether its name says so or the user.
    for address in ["news/train.txt", "news/val%20.txt"] {
        let place = Place::new();
        assert_eq!(place.fetch_from(&pair(), &server.address(address)).unwrap().len(), 1);
    }
    let place = Place::new();
    let from = Some(server.address("download?id=7"));
    let options = FetchOptions { from, only: vec!["val.txt".into()], ..place.options() };
    assert_eq!(fetch(&pair(), &options, &|_| ()).unwrap(), [place.path("val.txt")]);
}

#[test]
fn files_come_from_a_folder_or_a_file_of_the_users() {
    let mine = tempfile::tempdir().unwrap();
    let folder = mine.path().to_str().unwrap();
    fs::write(mine.path().join("train.txt"), content(0)).unwrap();
    fs::write(mine.path().join("val .txt"), content(1)).unwrap();
    let place = Place::new();
    place.fetch_from(&pair(), folder).unwrap();
    assert_eq!(place.names(), ["train.txt", "val.txt"]);
    assert!(fs::read(place.path("val.txt")).unwrap() == content(1));

    let place = Place::new();
    let path = mine.path().join("train.txt");
    assert_eq!(place.fetch_from(&pair(), path.to_str().unwrap()).unwrap(), [place.path("train.txt")]);
    place.assert_fetched();

    // A file by another name: the user says which one it is.
    let place = Place::new();
    let other = mine.path().join("download");
    fs::rename(&path, &other).unwrap();
    let from = other.to_str().unwrap();
    let message = place.fetch_from(&pair(), from).unwrap_err().to_string();
    assert_says(&message, &[from, "say with --only which file it is: train.txt, val.txt"]);
    let options = FetchOptions { from: Some(from.into()), only: vec!["train.txt".into()], ..place.options() };
    fetch(&pair(), &options, &|_| ()).unwrap();
    place.assert_fetched();

    let message = place.fetch_from(&pair(), &place.path("nowhere").to_string_lossy()).unwrap_err().to_string();
    assert_says(&message, &["there is no such file or folder"]);
}

#[test]
fn files_of_the_users_are_verified_as_well() {
    let mine = tempfile::tempdir().unwrap();
    fs::write(mine.path().join("train.txt"), content(2)).unwrap();
    let place = Place::new();
    let message = place.fetch_from(&pair(), mine.path().to_str().unwrap()).unwrap_err().to_string();
    let expected =
        ["2 of 2 files", &sha256_hex(&content(2)), &sha256_hex(&content(0)), "has no `val.txt` or `val .txt`"];
    assert_says(&message, &expected);
    assert!(place.names().is_empty());
}

#[test]
fn a_file_that_is_there_and_not_as_published_is_replaced_only_on_demand() {
    let server = Server::start(|request, _| ranged(&content(0), request));
    let source = train(&[server.address("train.txt")]);
    let place = Place::new();
    fs::write(place.path("train.txt"), "mine").unwrap();
    let message = place.error(&source);
    assert_says(&message, &[&sha256_hex(b"mine"), &sha256_hex(&content(0)), "--force replaces it"]);
    assert_eq!(fs::read(place.path("train.txt")).unwrap(), b"mine");
    assert!(server.lines().is_empty());

    let options = FetchOptions { force: true, ..place.options() };
    fetch(&source, &options, &|_| ()).unwrap();
    place.assert_fetched();

    // Nor is it lost when no address serves the published one.
    fs::write(place.path("train.txt"), "mine").unwrap();
    let options = FetchOptions { force: true, ..place.options() };
    fetch(&train(&["http://127.0.0.1:1/train.txt".into()]), &options, &|_| ()).unwrap_err();
    assert_eq!(fs::read(place.path("train.txt")).unwrap(), b"mine");
}

#[test]
fn a_folder_in_the_place_of_a_file_is_never_replaced() {
    let place = Place::new();
    fs::create_dir(place.path("train.txt")).unwrap();
    for force in [false, true] {
        let options = FetchOptions { force, ..place.options() };
        let source = train(&["http://127.0.0.1:1/train.txt".into()]);
        let message = fetch(&source, &options, &|_| ()).unwrap_err().to_string();
        assert_says(&message, &["train.txt: is in the way and no file; remove it"]);
    }
    assert_eq!(place.names(), ["train.txt"]);
}

#[test]
fn other_published_names_and_variants_count_as_there() {
    let mut source = pair();
    let variant = sources::Variant {
        name: "ours_train.txt".into(),
        bytes: SIZE as u64,
        sha256: sha256_hex(&content(3)),
        by: "somebody".into(),
    };
    source.files[0].variants.push(variant);
    let place = Place::new();
    fs::write(place.path("ours_train.txt"), content(3)).unwrap();
    fs::write(place.path("val .txt"), content(1)).unwrap();
    assert_eq!(place.fetch(&source).unwrap(), [place.path("ours_train.txt"), place.path("val .txt")]);
}

#[test]
fn optional_and_made_files_are_fetched_on_demand() {
    let server = Server::start(|request, _| ranged(&content(0), request));
    let mut source = train(&[server.address("train.txt")]);
    let optional = Some("of use to few".to_owned());
    source.files.push(PublishedFile { optional, ..file("ids.json", &content(0), &[server.address("ids.json")]) });
    let made = Some("joined by hand".to_owned());
    source.files.push(PublishedFile { made, ..file("joined.txt", &content(0), &[]) });

    let place = Place::new();
    place.fetch(&source).unwrap();
    place.assert_fetched();
    fetch(&source, &FetchOptions { all: true, ..place.options() }, &|_| ()).unwrap();
    assert_eq!(place.names(), ["ids.json", "train.txt"]);

    let only = |name: &str| FetchOptions { only: vec![name.into()], ..place.options() };
    let message = fetch(&source, &only("joined.txt"), &|_| ()).unwrap_err().to_string();
    assert_says(&message, &["no address serves it (joined by hand); --from takes the one that you have"]);
    let message = fetch(&source, &only("trian.txt"), &|_| ()).unwrap_err().to_string();
    assert_says(&message, &["--only trian.txt: no such file (did you mean `train.txt`?)"]);

    let mine = tempfile::tempdir().unwrap();
    fs::write(mine.path().join("joined.txt"), content(0)).unwrap();
    let from = Some(mine.path().to_str().unwrap().to_owned());
    fetch(&source, &FetchOptions { from, ..only("joined.txt") }, &|_| ()).unwrap();
    assert!(place.path("joined.txt").is_file());
}

#[test]
fn a_folder_with_made_files_need_not_have_the_others() {
    let mut source = pair();
    let made = Some("joined by hand".to_owned());
    for name in ["joined.txt", "further.txt"] {
        source.files.push(PublishedFile { made: made.clone(), ..file(name, &content(2), &[]) });
    }
    let mine = tempfile::tempdir().unwrap();
    let from = Some(mine.path().to_str().unwrap().to_owned());
    let fetched = || {
        let place = Place::new();
        let options = FetchOptions { from: from.clone(), ..place.options() };
        fetch(&source, &options, &|_| ()).map(|_| place.names())
    };
    fs::write(mine.path().join("val .txt"), content(1)).unwrap();
    assert_says(&fetched().unwrap_err().to_string(), &["has no `train.txt`"]);
    fs::write(mine.path().join("joined.txt"), "somebody's own").unwrap();
    assert_says(&fetched().unwrap_err().to_string(), &["has no `train.txt`"]);
    fs::write(mine.path().join("joined.txt"), content(2)).unwrap();
    assert_says(&fetched().unwrap_err().to_string(), &["has no `further.txt`"]);
    fs::write(mine.path().join("further.txt"), content(2)).unwrap();
    assert_eq!(fetched().unwrap(), ["further.txt", "joined.txt", "val.txt"]);
    // What is there must be as published.
    fs::write(mine.path().join("train.txt"), content(2)).unwrap();
    assert_says(&fetched().unwrap_err().to_string(), &["train.txt: not as published"]);
}

#[test]
fn a_licensed_corpus_says_where_to_get_it() {
    let tacred = sources::find("tacred").unwrap().unwrap();
    let message = Place::new().error(&tacred);
    assert_says(&message, &["mkgc cannot fetch it", "https://catalog.ldc.upenn.edu/LDC2018T24"]);
}

#[test]
fn two_fetches_do_not_write_the_same_file() {
    let place = Place::new();
    let part = fs::File::create(place.path("train.txt.part")).unwrap();
    part.lock().unwrap();
    let message = place.error(&train(&["http://127.0.0.1:1/train.txt".into()]));
    assert_says(&message, &["train.txt.part: another `mkgc fetch` is writing it"]);
}

#[test]
fn the_real_files_are_as_published() {
    let Some(data) = std::env::var_os("MKGC_DATA") else { return };
    for name in ["mnre", "twitter2015", "twitter2017"] {
        let raw = Path::new(&data).join(name);
        if !raw.is_dir() {
            continue;
        }
        let source = sources::find(name).unwrap().unwrap();
        let place = Place::new();
        let from = Some(raw.to_str().unwrap().to_owned());
        let options = FetchOptions { from, all: true, ..place.options() };
        assert_eq!(fetch(&source, &options, &|_| ()).unwrap().len(), source.files.len());
    }
}
