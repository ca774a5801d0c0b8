//! Files are downloaded whole and as published or not at all, from servers that cut, redirect, lie or are gone.
#![allow(clippy::unwrap_used)]

mod fetching;

use std::fs;
use std::time::Duration;

use fetching::server::{Request, Server, answer, cut, ranged, whole};
use fetching::{Place, SIZE, assert_says, content, corpus, file, train};
use mkgc_builder::fetch::{Event, fetch};
use mkgc_builder::files::sha256_hex;

#[test]
fn what_is_there_as_published_is_not_fetched_again() {
    let server = Server::start(|request, _| ranged(&content(0), request));
    let source = train(&[server.address("train.txt")]);
    let place = Place::new();
    assert_eq!(place.fetch(&source).unwrap(), [place.path("train.txt")]);
    place.assert_fetched();
    assert_eq!(place.fetch(&source).unwrap(), [place.path("train.txt")]);
    assert_eq!(server.lines(), ["GET /train.txt"]);
}

#[test]
fn the_steps_are_told_in_order() {
    let server = Server::start(|request, _| ranged(&content(0), request));
    let source = train(&[server.address("train.txt")]);
    let place = Place::new();
    let told = std::cell::RefCell::new(Vec::new());
    let tell = |event: Event<'_>| {
        let mut told = told.borrow_mut();
        match event {
            Event::Start { start, address, .. } => told.push(format!("{start} of {address}")),
            Event::Bytes { done, .. } if done == SIZE as u64 => told.push("all bytes".into()),
            Event::Bytes { .. } => {}
            Event::Done { path, .. } => told.push(format!("done {}", path.display())),
            Event::Present { path, .. } => told.push(format!("present {}", path.display())),
        }
    };
    fetch(&source, &place.options(), &tell).unwrap();
    fetch(&source, &place.options(), &tell).unwrap();
    let path = place.path("train.txt").display().to_string();
    let start = format!("0 of {}", server.address("train.txt"));
    assert_eq!(*told.borrow(), [start, "all bytes".into(), format!("done {path}"), format!("present {path}")]);
}

#[test]
fn a_cut_connection_is_taken_up_where_it_ended() {
    let server = Server::start(|request, before| {
        let answer = ranged(&content(0), request);
        if before < 2 { cut(answer, 50_000) } else { answer }
    });
    let place = Place::new();
    place.fetch(&train(&[server.address("train.txt")])).unwrap();
    place.assert_fetched();
    assert_eq!(server.starts(), [None, Some(50_000), Some(100_000)]);
}

#[test]
fn what_was_fetched_before_the_connection_broke_for_good_is_kept_for_the_next_command() {
    let broken =
        Server::start(|request, before| cut(ranged(&content(0), request), if before == 0 { 50_000 } else { 0 }));
    let place = Place::new();
    let message = place.error(&train(&[broken.address("train.txt")]));
    assert_says(&message, &["the connection was cut after 50000 of 200000 bytes", &broken.address("train.txt")]);
    assert_eq!(place.names(), ["train.txt.part"]);

    let server = Server::start(|request, _| ranged(&content(0), request));
    place.fetch(&train(&[server.address("train.txt")])).unwrap();
    place.assert_fetched();
    assert_eq!(server.starts(), [Some(50_000)]);
}

#[test]
fn another_address_goes_on_with_what_the_first_one_began() {
    let broken =
        Server::start(|request, before| cut(ranged(&content(0), request), if before == 0 { 50_000 } else { 0 }));
    let server = Server::start(|request, _| ranged(&content(0), request));
    let place = Place::new();
    place.fetch(&train(&[broken.address("train.txt"), server.address("train.txt")])).unwrap();
    place.assert_fetched();
    assert_eq!(server.starts(), [Some(50_000)]);
}

#[test]
fn a_server_that_knows_no_ranges_sends_the_file_anew() {
    let server =
        Server::start(|_, before| if before == 0 { cut(whole(&content(0)), 50_000) } else { whole(&content(0)) });
    let place = Place::new();
    place.fetch(&train(&[server.address("train.txt")])).unwrap();
    place.assert_fetched();
    assert_eq!(server.starts(), [None, Some(50_000)]);
}

#[test]
fn a_part_of_another_file_is_not_gone_on_with() {
    let server = Server::start(|request, _| ranged(&content(0), request));
    let source = train(&[server.address("train.txt")]);
    for length in [50_000, SIZE, SIZE + 1] {
        let place = Place::new();
        fs::write(place.path("train.txt.part"), [content(1), vec![0]].concat().split_at(length).0).unwrap();
        place.fetch(&source).unwrap();
        place.assert_fetched();
    }
    assert_eq!(server.starts(), [Some(50_000), None, None, None]);
}

#[test]
fn a_range_that_is_refused_or_another_than_asked_for_is_noticed() {
    let refusing = Server::start(|request, _| match request.start {
        Some(_) => answer("416 Range Not Satisfiable", "Content-Length: 0\r\n", b""),
        None => whole(&content(0)),
    });
    let place = Place::new();
    fs::write(place.path("train.txt.part"), &content(0)[..50_000]).unwrap();
    place.fetch(&train(&[refusing.address("train.txt")])).unwrap();
    place.assert_fetched();
    assert_eq!(refusing.starts(), [Some(50_000), None]);

    let shifted = Server::start(|request, _| {
        let start = request.start.map(|start| start - 1);
        ranged(&content(0), &Request { start, ..request.clone() })
    });
    let place = Place::new();
    fs::write(place.path("train.txt.part"), &content(0)[..50_000]).unwrap();
    assert_says(&place.error(&train(&[shifted.address("train.txt")])), &["another range than was asked for"]);
    assert_eq!(place.names(), ["train.txt.part"]);
}

#[test]
fn other_bytes_than_the_published_ones_never_get_into_place() {
    let server = Server::start(|request, _| ranged(&content(1), request));
    let place = Place::new();
    let message = place.error(&train(&[server.address("train.txt")]));
    let sums = [sha256_hex(&content(0)), sha256_hex(&content(1))];
    assert_says(&message, &["it serves other bytes", &sums[0], &sums[1], "where else to look:"]);
    assert!(place.names().is_empty());

    // The next address may serve the right ones.
    let right = Server::start(|request, _| ranged(&content(0), request));
    place.fetch(&train(&[server.address("train.txt"), right.address("train.txt")])).unwrap();
    place.assert_fetched();
}

#[test]
fn a_file_of_another_size_is_not_even_read() {
    let shorter = Server::start(|_, _| whole(b"<html>Please log in</html>"));
    let longer = Server::start(|_, _| answer("200 OK", "", &[content(0), content(1)].concat()));
    let place = Place::new();
    let message = place.error(&train(&[shorter.address("train.txt"), longer.address("train.txt")]));
    let expected = ["it serves another file: 26 bytes, published are 200000", "it serves more than the 200000 bytes"];
    assert_says(&message, &expected);
    assert!(place.names().is_empty());
}

#[test]
fn a_body_without_a_length_is_whole_when_its_sum_says_so() {
    let server = Server::start(|_, before| {
        let answer = answer("200 OK", "", &content(0));
        if before == 0 { cut(answer, 50_000) } else { answer }
    });
    let place = Place::new();
    place.fetch(&train(&[server.address("train.txt")])).unwrap();
    place.assert_fetched();
    assert_eq!(server.starts(), [None, Some(50_000)]);
}

#[test]
fn redirections_are_followed_but_not_for_ever() {
    let target = Server::start(|request, _| ranged(&content(0), request));
    let moved = target.address("moved.txt");
    let server = Server::start(move |request, _| match request.line.as_str() {
        "GET /train.txt" => answer("302 Found", "Location: /here.txt\r\nContent-Length: 0\r\n", b""),
        "GET /here.txt" => answer("301 Moved Permanently", &format!("Location: {moved}\r\nContent-Length: 0\r\n"), b""),
        _ => answer("302 Found", "Location: /round\r\nContent-Length: 0\r\n", b""),
    });
    let place = Place::new();
    fs::write(place.path("train.txt.part"), &content(0)[..50_000]).unwrap();
    place.fetch(&train(&[server.address("train.txt")])).unwrap();
    place.assert_fetched();
    assert_eq!(target.lines(), ["GET /moved.txt"]);
    assert_eq!(target.starts(), [Some(50_000)]);
    assert_says(&Place::new().error(&train(&[server.address("round")])), &["it is redirected without end"]);
}

#[test]
fn a_dead_address_says_what_was_tried_and_where_else_to_look() {
    let gone = Server::start(|_, _| answer("404 Not Found", "Content-Length: 0\r\n", b""));
    let failing = Server::start(|_, _| answer("503 Service Unavailable", "Content-Length: 0\r\n", b""));
    // Nobody listens at a port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = [gone.address("train.txt"), failing.address("train.txt"), format!("http://{closed}/train.txt")];
    let place = Place::new();
    let message = place.error(&train(&addresses));
    let expected = [
        "news: 1 of 1 files cannot be put into ",
        &format!("{}: the file is not there (status 404)", addresses[0]),
        &format!("{}: the server refuses it (status 503)", addresses[1]),
        &format!("{}: the connection was refused", addresses[2]),
        "where else to look:\n  the texts: https://archive.invalid\n  the pictures: https://drive.invalid",
        "--from ADDRESS_OR_FOLDER` takes the files from there",
    ];
    assert_says(&message, &expected);
    assert!(place.names().is_empty());

    let server = Server::start(|request, _| ranged(&content(0), request));
    place.fetch(&train(&[addresses[0].clone(), server.address("mirror/train.txt")])).unwrap();
    place.assert_fetched();
}

#[test]
fn one_dead_file_does_not_keep_the_others_away() {
    let server = Server::start(|request, _| match request.line.as_str() {
        "GET /train.txt" => ranged(&content(0), request),
        _ => answer("404 Not Found", "Content-Length: 0\r\n", b""),
    });
    let files = ["gone.txt", "train.txt"].map(|name| file(name, &content(0), &[server.address(name)]));
    let place = Place::new();
    let message = place.error(&corpus(files.to_vec()));
    assert_says(&message, &["news: 1 of 2 files cannot be put into ", "  gone.txt:\n"]);
    place.assert_fetched();
}

#[test]
fn a_server_that_says_nothing_is_left() {
    // The listener accepts connections by itself, and nobody ever answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/train.txt", silent.local_addr().unwrap());
    let place = Place::new();
    let mut options = place.options();
    options.network.patience = Duration::from_millis(50);
    let message = fetch(&train(&[address]), &options, &|_| ()).unwrap_err().to_string();
    assert_says(&message, &["no answer within 0.05 s"]);
    assert!(place.names().is_empty());
}
