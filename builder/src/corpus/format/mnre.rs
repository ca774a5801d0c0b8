//! The format of MNRE (github.com/thecharm/MNRE): one Python dict literal per line with the keys `token`, `h`, `t`,
//! `img_id` and `relation`.

use rayon::prelude::*;

use super::lines::lines;
use super::python_literal::{Literal, parse as parse_literal, repr};
use super::raw::{Format, Parsed, RawFile, Records};
use crate::corpus::types::{Annotation, Instance, Mention};
use crate::error::{Error, Result, hint};

/// The format of MNRE: one record per line; blank lines at the end are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mnre;

impl Format for Mnre {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        Ok(parse(file).into())
    }
}

fn parse(file: &RawFile<'_>) -> Records {
    let mut records: Vec<_> = lines(file.path, file.bytes).collect();
    while records.last().is_some_and(|(_, line)| line.as_ref().is_ok_and(|line| line.trim().is_empty())) {
        records.pop();
    }
    records
        .into_par_iter()
        .map(|(number, line)| {
            parse_line(number, line?, file).map_err(|reason| Error::corpus(file.path, number, reason))
        })
        .collect()
}

fn parse_line(number: usize, line: &str, file: &RawFile<'_>) -> Field<Instance> {
    let Literal::Dict(entries) = parse_literal(line)? else { return Err("expected a dict".to_owned()) };
    let record = Record { place: "", entries };
    record.only(&["token", "h", "t", "img_id", "relation"])?;
    let tokens = record.words("token")?;
    if tokens.is_empty() {
        return Err("`token` is empty".to_owned());
    }
    let head = record.mention("h", tokens.len())?;
    let tail = record.mention("t", tokens.len())?;
    let relation = Some(record.text("relation")?).filter(|relation| relation != file.none);
    if let Some(unknown) = relation.as_ref().filter(|relation| !file.accepts(relation)) {
        let hint = hint(unknown, file.classes.iter().map(String::as_str));
        return Err(format!("unknown relation `{unknown}`{hint}; known: {}", file.classes.join(", ")));
    }
    let annotation = Annotation::Relation { head, tail, relation };
    let image = Some(record.text("img_id")?);
    Ok(Instance { id: None, row: number - 1, line: number, tokens, image, annotation })
}

/// A dict with typed access to its values; `place` is the key it was found at, empty for the record itself.
struct Record {
    place: &'static str,
    entries: Vec<(Literal, Literal)>,
}

/// A value, or why it is not one.
type Field<T> = std::result::Result<T, String>;

impl Record {
    fn only(&self, known: &[&str]) -> Field<()> {
        for (key, _) in &self.entries {
            match key {
                Literal::Str(key) if known.contains(&key.as_str()) => {}
                key => return Err(format!("unknown key {key:?} in {}; known: {}", self.name(), known.join(", "))),
            }
        }
        Ok(())
    }

    fn name(&self) -> &str {
        if self.place.is_empty() { "the record" } else { self.place }
    }

    fn get(&self, key: &str) -> Field<&Literal> {
        let found = self.entries.iter().find(|(k, _)| matches!(k, Literal::Str(k) if k == key));
        found.map(|(_, value)| value).ok_or_else(|| format!("missing key `{key}` in {}", self.name()))
    }

    fn wrong(&self, key: &str, expected: &str, found: &Literal) -> String {
        format!("wrong type of `{key}` in {}: expected {expected}, found {}", self.name(), found.type_name())
    }

    fn text(&self, key: &str) -> Field<String> {
        match self.get(key)? {
            Literal::Str(text) => Ok(text.clone()),
            other => Err(self.wrong(key, "str", other)),
        }
    }

    fn words(&self, key: &str) -> Field<Vec<String>> {
        let Literal::List(items) = self.get(key)? else { return Err(self.wrong(key, "list of str", self.get(key)?)) };
        let word = |item: &Literal| match item {
            Literal::Str(word) => Ok(word.clone()),
            other => Err(self.wrong(key, "list of str", other)),
        };
        items.iter().map(word).collect()
    }

    fn mention(&self, key: &'static str, words: usize) -> Field<Mention> {
        let Literal::Dict(entries) = self.get(key)? else { return Err(self.wrong(key, "dict", self.get(key)?)) };
        let mention = Self { place: key, entries: entries.clone() };
        mention.only(&["name", "pos"])?;
        let pos = mention.get("pos")?;
        let Literal::List(items) = pos else { return Err(mention.wrong("pos", "list of two int", pos)) };
        let [Literal::Int(start), Literal::Int(end)] = items.as_slice() else {
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

/// Formats a row as a line of the published text files, without its ending.
pub fn format_line(tokens: &[String], head: &Mention, tail: &Mention, image: &str, relation: &str) -> String {
    let words: Vec<String> = tokens.iter().map(|word| repr(word)).collect();
    format!(
        "{{'token': [{}], 'h': {}, 't': {}, 'img_id': {}, 'relation': {}}}",
        words.join(", "),
        format_mention(head),
        format_mention(tail),
        repr(image),
        repr(relation)
    )
}

fn format_mention(mention: &Mention) -> String {
    format!("{{'name': {}, 'pos': [{}, {}]}}", repr(&mention.name), mention.start, mention.end)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const GOOD: &str = "{'token': ['Ann', 'met', \"O'Neil\"], 'h': {'name': 'Ann', 'pos': [0, 1]}, \
        't': {'name': \"O'Neil\", 'pos': [2, 3]}, 'img_id': 'a.jpg', 'relation': '/per/per/peer'}";

    fn parse_bytes(bytes: &[u8]) -> Records {
        let classes = ["/per/per/peer".to_owned(), "/per/per/parent".to_owned()];
        parse(&RawFile { path: Path::new("mnre_train.txt"), bytes, classes: &classes, none: "None" })
    }

    fn parsed(text: &str) -> Records {
        parse_bytes(text.as_bytes())
    }

    #[test]
    fn a_line_reads_and_writes_itself_with_either_ending() {
        for text in
            [format!("{GOOD}\n{GOOD}\n"), format!("{GOOD}\r\n{GOOD}\r\n"), format!("\u{feff}{GOOD}\n{GOOD}\n\n")]
        {
            let records = parsed(&text);
            assert_eq!(records.len(), 2);
            let second = records.into_iter().nth(1).unwrap().unwrap();
            assert_eq!(second.row, 1);
            assert_eq!(second.line, 2);
            let Annotation::Relation { head, tail, relation: Some(relation) } = &second.annotation else { panic!() };
            assert_eq!(format_line(&second.tokens, head, tail, second.image.as_deref().unwrap(), relation), GOOD);
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
        let error = parse_bytes(&bytes).remove(0).unwrap_err().to_string();
        assert_eq!(error, "mnre_train.txt:1: invalid UTF-8 at byte 21 of the line");
    }
}
