//! `mkgc predict` as a user meets it.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{Place, train};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::train::{Request, SaveModel};
use serde_json::Value;

/// A run that keeps its networks, and the folder it is in.
struct Kept(Place);

impl Kept {
    fn new(kind: Extraction) -> Self {
        let place = Place::new(kind);
        let save_model = Some(SaveModel::Every);
        train(Request { save_model, ..place.request("emr", "", &place.built().with_file_name("run")) }).unwrap();
        Self(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.built().with_file_name(name)
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        fs_err::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkgc"));
        command.args(["predict", "run"]).args(arguments).current_dir(self.0.built().parent().unwrap());
        command
    }

    fn mkgc(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.mkgc(arguments);
        assert_eq!(code, 0, "{arguments:?}: {err}");
        out
    }

    fn error(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.mkgc(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        err
    }
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn entities_are_labelled_from_every_format() {
    let kept = Kept::new(Extraction::Entities);
    kept.file("a.txt", "ann visits rome in the old\nbob met nobody\n");
    kept.file("a.conll", "ann\tO\nvisits\tO\nrome\tO\nin\tO\nthe\tO\nold\tO\n\nbob\nmet\nnobody\n");
    kept.file("a.jsonl", "{\"text\": \"ann visits rome in the old\", \"id\": 1}\n{\"tokens\": [\"bob\", \"met\", \"nobody\"], \"id\": \"2\"}\n");
    let text = kept.ok(&["--input", "a.txt"]);
    let lines = objects(&text);
    assert_eq!((lines.len(), &lines[0]["id"], &lines[0]["tokens"][1]), (2, &"1".into(), &"visits".into()));
    assert_eq!(lines[0]["prediction"].as_array().unwrap().len(), 6);
    let places = lines.iter().flat_map(|line| line["entities"].as_array().unwrap()).collect::<Vec<_>>();
    assert!(places.iter().any(|entity| entity["type"] == "LOC" && entity["text"] == "rome"), "{text}");
    assert_eq!(kept.ok(&["--input", "a.jsonl"]), text);
    let columns = kept.ok(&["--input", "a.conll"]);
    assert_eq!(columns.replace("\"id\":\"8\"", "\"id\":\"2\""), text);
    let written = kept.ok(&["--input", "a.txt", "--output-format", "conll"]);
    let first: Vec<&str> = written.lines().next().unwrap().split('\t').collect();
    assert_eq!(first[..2], ["ann", lines[0]["prediction"][0].as_str().unwrap()]);
    assert_eq!(first[2].parse::<f64>().unwrap(), lines[0]["confidences"][0].as_f64().unwrap());
    assert_eq!((written.lines().count(), written.lines().nth(6)), (11, Some("")));
    assert_eq!(kept.ok(&["--input", "a.txt", "--output", "new/out.jsonl"]), "");
    assert_eq!(fs_err::read_to_string(kept.path("new/out.jsonl")).unwrap(), text);
    let mut child = kept.command(&["--input", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"ann visits rome in the old\nbob met nobody\n").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, text.into_bytes());
    let (_, _, notes) = kept.mkgc(&["--input", "a.txt", "--stage", "0"]);
    assert!(notes.contains("emr after task 1 of 2 of tiny-ner, on cpu: 2 sentences"), "{notes}");
    kept.file("long.txt", &"ann ".repeat(30));
    let (_, out, notes) = kept.mkgc(&["--input", "long.txt"]);
    assert!(notes.contains("warning: 1 sentence is longer than the 24 word pieces that the model reads;"), "{notes}");
    let long = &objects(&out)[0];
    assert_eq!((long["prediction"].as_array().unwrap().len(), &long["prediction"][29]), (30, &"O".into()));
    assert_eq!(long["confidences"].as_array().unwrap().len(), 22);
    #[cfg(unix)]
    std::os::unix::fs::symlink("long.txt", kept.path("link")).unwrap();
    for output in [
        "long.txt",
        "./new/../long.txt",
        #[cfg(unix)]
        "link",
    ] {
        let error = kept.error(&["--input", "long.txt", "--output", output]);
        assert!(error.contains("--output is the file of --input, long.txt, which it would replace"), "{error}");
    }
    kept.file("tab.jsonl", "{\"tokens\": [\"a\\tb\", \"c\"]}\n");
    let error = kept.error(&["--input", "tab.jsonl", "--output-format", "conll"]);
    assert!(error.contains("the word \"a\\tb\" holds a tab"), "{error}");
    // Only the network after the first task is left, as if the second one had been learned without --save-model.
    assert!(!notes.contains("has learned"), "{notes}");
    fs_err::remove_dir_all(kept.path("run/stages/1/model")).unwrap();
    let (_, _, notes) = kept.mkgc(&["--input", "a.txt"]);
    assert!(notes.contains("warning: run has learned 2 tasks, and this is its network after 1 of them"), "{notes}");
}

#[test]
fn relations_take_mentions_and_mistakes_are_named() {
    let kept = Kept::new(Extraction::Relations);
    let row = "{\"tokens\": [\"ann\", \"met\", \"rome\"], \"head\": [0, 1], \"tail\": [2, 3]}";
    kept.file("a.jsonl", &format!("{row}\n"));
    let found = &objects(&kept.ok(&["--input", "a.jsonl"]))[0];
    assert_eq!(found["prediction"], "/per/per/peer");
    assert!(found["confidence"].as_f64().unwrap() > 1.0 / 3.0, "{found}");
    kept.file("a.txt", "ann met rome");
    assert!(kept.error(&["--input", "a.txt"]).contains("a.txt: this model tells the relation between two mentions"));
    assert!(kept.error(&["--input", "a.jsonl", "--output-format", "conll"]).contains("this model tells relations"));
    assert!(kept.error(&["--input", "a.jsonl", "--stage", "7"]).contains("keeps no model of stage 7, only of 0, 1"));
    assert!(kept.error(&["--input", "none.jsonl"]).contains("none.jsonl"));
    let words = vec!["\"ann\""; 30].join(", ");
    kept.file("long.jsonl", &format!("{row}\n{{\"tokens\": [{words}], \"head\": [0, 25], \"tail\": [25, 30]}}\n"));
    let error = kept.error(&["--input", "long.jsonl", "--output", "out.jsonl"]);
    assert!(error.contains("long.jsonl:2: ") && error.contains("max_length"), "{error}");
    assert!(!kept.path("out.jsonl").exists());
    let fits = format!("{{\"tokens\": [{words}], \"head\": [0, 1], \"tail\": [25, 26]}}\n");
    kept.file("cut.jsonl", &format!("{row}\n{fits}"));
    let (code, out, notes) = kept.mkgc(&["--input", "cut.jsonl"]);
    assert_eq!((code, objects(&out).len()), (0, 2), "{notes}");
    assert!(
        notes.contains("warning: 1 sentence is longer than the 24 word pieces that the model reads; words that"),
        "{notes}"
    );
    // A saved model is an encoder, too.
    let line = ["train", "built", "--method", "majority", "--encoder", "run/stages/1/model", "--out", "next"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_mkgc"));
    let next = command.args(line).args(["--save-model"]).current_dir(kept.path("")).output().unwrap();
    assert!(next.status.success(), "{}", String::from_utf8_lossy(&next.stderr));
    assert!(kept.path("next/model/mkgc.json").exists());
}
