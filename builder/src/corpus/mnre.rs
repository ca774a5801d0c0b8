//! MNRE (Zheng et al. 2021, github.com/thecharm/MNRE): one Python dict literal per line with `token`, `h`, `t`,
//! `img_id`, `relation`.

use std::path::Path;

use rayon::prelude::*;

use super::lines::lines;
use super::pyliteral::{Value, parse as literal, repr};
use super::{Annotation, Instance, Mention, Records};
use crate::error::{Error, Result, hint};

/// Published names of the train, validation and test file; one of the validation names really holds a space.
pub const FILES: [&[&str]; 3] = [
    &["mnre_train.txt", "ours_train.txt"],
    &["mnre_val.txt", "mnre_val .txt", "ours_val.txt"],
    &["mnre_test.txt", "ours_test.txt"],
];

/// The label-id file of the published corpus.
const LABEL_IDS: &str = "ours_rel2id.json";

/// Relations of the published `ours_rel2id.json` by id, used where that file is absent; `None` is id 0.
const RELATIONS: [&str; 22] = [
    "/per/per/parent",
    "/per/per/siblings",
    "/per/per/couple",
    "/per/per/neighbor",
    "/per/per/peer",
    "/per/per/charges",
    "/per/per/alumi",
    "/per/per/alternate_names",
    "/per/org/member_of",
    "/per/loc/place_of_residence",
    "/per/loc/place_of_birth",
    "/org/org/alternate_names",
    "/org/org/subsidiary",
    "/org/loc/locate_at",
    "/loc/loc/contain",
    "/per/misc/present_in",
    "/per/misc/awarded",
    "/per/misc/race",
    "/per/misc/religion",
    "/per/misc/nationality",
    "/misc/misc/part_of",
    "/misc/loc/held_on",
];

/// The relations without `None` in id order: those of `ours_rel2id.json` in `dir`, else the published ones.
pub fn classes(dir: &Path) -> Result<Vec<String>> {
    let path = dir.join(LABEL_IDS);
    if !path.is_file() {
        return Ok(RELATIONS.map(str::to_owned).to_vec());
    }
    let ids: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&fs_err::read(&path)?)
        .map_err(|error| Error::corpus(&path, error.line(), format!("not a JSON object of relation ids: {error}")))?;
    let mut classes: Vec<(u64, String)> = Vec::with_capacity(ids.len());
    for (name, id) in ids {
        let id = id.as_u64().ok_or_else(|| Error::corpus(&path, 1, format!("id of `{name}` is not a whole number")))?;
        classes.push((id, name));
    }
    classes.sort();
    Ok(classes.into_iter().map(|(_, name)| name).filter(|name| name != "None").collect())
}

/// One record per line; blank lines at the end are ignored.
pub fn parse(file: &Path, bytes: &[u8], classes: &[String]) -> Records {
    let mut records: Vec<_> = lines(file, bytes).collect();
    while records.last().is_some_and(|(_, line)| line.as_ref().is_ok_and(|line| line.trim().is_empty())) {
        records.pop();
    }
    records
        .into_par_iter()
        .map(|(number, line)| {
            instance(line?, classes)
                .map(|(tokens, image, annotation)| Instance {
                    row: number - 1,
                    line: number,
                    tokens,
                    image,
                    annotation,
                })
                .map_err(|reason| Error::corpus(file, number, reason))
        })
        .collect()
}

type Fields = (Vec<String>, String, Annotation);

fn instance(line: &str, classes: &[String]) -> std::result::Result<Fields, String> {
    let Value::Dict(entries) = literal(line)? else { return Err("expected a dict".to_owned()) };
    let record = Record { place: "", entries };
    record.only(&["token", "h", "t", "img_id", "relation"])?;
    let tokens = record.words("token")?;
    if tokens.is_empty() {
        return Err("`token` is empty".to_owned());
    }
    let (head, tail) = (record.mention("h", tokens.len())?, record.mention("t", tokens.len())?);
    let relation = record.text("relation")?;
    if relation != "None" && !classes.contains(&relation) {
        let hint = hint(&relation, classes.iter().map(String::as_str));
        return Err(format!("unknown relation `{relation}`{hint}; the known ones are in {LABEL_IDS}"));
    }
    Ok((tokens, record.text("img_id")?, Annotation::Relation { head, tail, relation }))
}

/// A dict with typed access; `place` prefixes key names in messages.
struct Record {
    place: &'static str,
    entries: Vec<(Value, Value)>,
}

type Field<T> = std::result::Result<T, String>;

impl Record {
    fn only(&self, known: &[&str]) -> Field<()> {
        for (key, _) in &self.entries {
            match key {
                Value::Str(key) if known.contains(&key.as_str()) => {}
                key => return Err(format!("unknown key {key:?} in {}; known: {}", self.name(), known.join(", "))),
            }
        }
        Ok(())
    }

    fn name(&self) -> &str {
        if self.place.is_empty() { "the record" } else { self.place }
    }

    fn get(&self, key: &str) -> Field<&Value> {
        let found = self.entries.iter().find(|(k, _)| matches!(k, Value::Str(k) if k == key));
        found.map(|(_, value)| value).ok_or_else(|| format!("missing key `{key}` in {}", self.name()))
    }

    fn wrong(&self, key: &str, expected: &str, found: &Value) -> String {
        format!("wrong type of `{key}` in {}: expected {expected}, found {}", self.name(), found.type_name())
    }

    fn text(&self, key: &str) -> Field<String> {
        match self.get(key)? {
            Value::Str(text) => Ok(text.clone()),
            other => Err(self.wrong(key, "str", other)),
        }
    }

    fn words(&self, key: &str) -> Field<Vec<String>> {
        let Value::List(items) = self.get(key)? else { return Err(self.wrong(key, "list of str", self.get(key)?)) };
        let word = |item: &Value| match item {
            Value::Str(word) => Ok(word.clone()),
            other => Err(self.wrong(key, "list of str", other)),
        };
        items.iter().map(word).collect()
    }

    fn mention(&self, key: &'static str, words: usize) -> Field<Mention> {
        let Value::Dict(entries) = self.get(key)? else { return Err(self.wrong(key, "dict", self.get(key)?)) };
        let mention = Self { place: key, entries: entries.clone() };
        mention.only(&["name", "pos"])?;
        let pos = mention.get("pos")?;
        let Value::List(items) = pos else { return Err(mention.wrong("pos", "list of two int", pos)) };
        let [Value::Int(start), Value::Int(end)] = items.as_slice() else {
            return Err(format!("wrong type of `pos` in {key}: expected two int"));
        };
        match (usize::try_from(*start), usize::try_from(*end)) {
            (Ok(start), Ok(end)) if start < end && end <= words => {
                Ok(Mention { name: mention.text("name")?, start, end })
            }
            _ => Err(format!("span [{start}, {end}] of `{key}` is out of range: the sentence has {words} words")),
        }
    }
}

/// The line of the published text files, without its ending.
pub fn line(tokens: &[String], head: &Mention, tail: &Mention, image: &str, relation: &str) -> String {
    let words: Vec<String> = tokens.iter().map(|word| repr(word)).collect();
    let mention = |m: &Mention| format!("{{'name': {}, 'pos': [{}, {}]}}", repr(&m.name), m.start, m.end);
    let (head, tail, image, relation) = (mention(head), mention(tail), repr(image), repr(relation));
    format!("{{'token': [{}], 'h': {head}, 't': {tail}, 'img_id': {image}, 'relation': {relation}}}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "{'token': ['Ann', 'met', \"O'Neil\"], 'h': {'name': 'Ann', 'pos': [0, 1]}, \
        't': {'name': \"O'Neil\", 'pos': [2, 3]}, 'img_id': 'a.jpg', 'relation': '/per/per/peer'}";

    fn parsed(text: &str) -> Records {
        parse(Path::new("mnre_train.txt"), text.as_bytes(), &RELATIONS.map(str::to_owned))
    }

    #[test]
    fn a_line_reads_and_writes_itself_with_either_ending() {
        for text in
            [format!("{GOOD}\n{GOOD}\n"), format!("{GOOD}\r\n{GOOD}\r\n"), format!("\u{feff}{GOOD}\n{GOOD}\n\n")]
        {
            let records = parsed(&text);
            assert_eq!(records.len(), 2);
            let second = records.into_iter().nth(1).unwrap().unwrap();
            assert_eq!((second.row, second.line), (1, 2));
            let Annotation::Relation { head, tail, relation } = &second.annotation else { panic!() };
            assert_eq!(line(&second.tokens, head, tail, &second.image, relation), GOOD);
        }
    }

    #[test]
    fn every_damage_is_named() {
        for (from, to, message) in [
            ("'h': {", "'h' {", "bad literal at column"),
            (", 'img_id': 'a.jpg'", "", "missing key `img_id` in the record"),
            ("'pos': [0, 1]", "'pos': [0, 4]", "span [0, 4] of `h` is out of range: the sentence has 3 words"),
            ("'pos': [0, 1]", "'pos': [1, 1]", "out of range"),
            ("'pos': [0, 1]", "'pos': [-1, 1]", "out of range"),
            ("'pos': [0, 1]", "'pos': '0'", "wrong type of `pos` in h: expected list of two int, found str"),
            ("'pos': [0, 1]", "'pos': [0, '1']", "expected two int"),
            ("'name': 'Ann', ", "", "missing key `name` in h"),
            ("/per/per/peer", "/per/per/per", "unknown relation `/per/per/per` (did you mean `/per/per/peer`?)"),
            ("'met'", "7", "wrong type of `token` in the record: expected list of str, found int"),
            ("['Ann', 'met', \"O'Neil\"]", "[]", "`token` is empty"),
            ("'img_id'", "'image'", "unknown key"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            let error = parsed(&format!("{GOOD}\n{bad}\n")).remove(1).unwrap_err().to_string();
            assert!(error.starts_with("mnre_train.txt:2: ") && error.contains(message), "{error}");
        }
        assert!(parsed("[1]").remove(0).unwrap_err().to_string().contains("expected a dict"));
        assert!(parsed(&format!("{GOOD}\n\n{GOOD}")).remove(1).is_err());
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[20] = 0xff;
        let error = parse(Path::new("x"), &bytes, &[]).remove(0).unwrap_err().to_string();
        assert_eq!(error, "x:1: invalid UTF-8 at byte 21 of the line");
    }
}
