//! JSON lines: an object per line. Keys are those of a benchmark's rows, and the ones that published corpora have instead:
//!
//! | key | also | value |
//! |---|---|---|
//! | `tokens` | `token`, `words` | list of words |
//! | `text` | | sentence whose words stand between blanks, instead of `tokens` |
//! | `head`, `tail` | `h`, `t` | half-open span of words: `[0, 1]`, `{"start": 0, "end": 1}` or `{"pos": [0, 1]}`; or FewRel's `["Ann", "Q1", [[0]]]` with the numbers of the words |
//! | `id` | | text or whole number |
//! | `image` | `image_id`, `img_id` | path of the picture |

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use mkgc_builder::corpus::Extraction;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::predict::{Place, Sentence};

/// What is read of a line, or what is wrong with it.
type Read<T> = std::result::Result<T, String>;

pub(super) fn read(file: &Path, text: &str, kind: Extraction) -> Result<Vec<Sentence>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let sentence = |(line, content): (usize, &str)| {
        let place = Place { file: file.to_owned(), line };
        sentence(&place, content, kind).map_err(|reason| place.error(&reason))
    };
    let sentences: Vec<Sentence> = lines.map(sentence).collect::<Result<_>>()?;
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for Sentence { id, place, .. } in &sentences {
        if let Some(earlier) = lines.insert(id, place.line) {
            let remedy = "give each line an `id` of its own; without one, it is the number of the line";
            return Err(place.error(&format!("the id `{id}` is that of line {earlier}, too; {remedy}")));
        }
    }
    Ok(sentences)
}

/// Reads a line; the error is the reason.
fn sentence(place: &Place, line: &str, kind: Extraction) -> Read<Sentence> {
    let object = object(line)?;
    let mentions = match kind {
        Extraction::Relations => Some([mention(&object, "head", "h")?, mention(&object, "tail", "t")?]),
        Extraction::Entities => None,
    };
    Ok(Sentence {
        id: id(&object)?.unwrap_or_else(|| place.line.to_string()),
        place: place.clone(),
        tokens: tokens(&object)?,
        mentions,
        image: image(&object),
    })
}

fn object(line: &str) -> Read<Map<String, Value>> {
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Array(_)) => Err("is a JSON list; write one object per line".to_owned()),
        Ok(_) => Err("is JSON but no object; write one object per line, such as {\"tokens\": [\"Ann\"]}".to_owned()),
        Err(_) if line.trim_start().starts_with("{'") => {
            Err("is in single quotes, as Python prints a dictionary; write what `json.dumps` returns".to_owned())
        }
        Err(error) if error.is_eof() => Err("ends within an object; write each object on one line".to_owned()),
        Err(error) => Err(format!("is not JSON from column {} on", error.column())),
    }
}

/// Finds the value of a key that has several names; null stands for a missing one.
fn find<'o>(object: &'o Map<String, Value>, names: &[&str]) -> Option<&'o Value> {
    names.iter().filter_map(|name| object.get(*name)).find(|value| !value.is_null())
}

fn tokens(object: &Map<String, Value>) -> Read<Vec<String>> {
    let expected = || "`tokens`: expected a list of words".to_owned();
    match (find(object, &["tokens", "token", "words"]), object.get("text")) {
        (Some(Value::Array(words)), _) => {
            words.iter().map(|word| word.as_str().map(str::to_owned).ok_or_else(expected)).collect()
        }
        (Some(_), _) => Err(expected()),
        (None, Some(Value::String(text))) => Ok(text.split_whitespace().map(str::to_owned).collect()),
        (None, _) => {
            let keys = object.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Err(format!("missing key `tokens`, a list of words; the object has {keys}"))
        }
    }
}

fn mention(object: &Map<String, Value>, name: &str, short: &str) -> Read<Range<usize>> {
    let missing = || {
        let keys = object.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("missing key `{name}`, the span of a mention such as [0, 1]; the object has {keys}")
    };
    let value = find(object, &[name, short]).ok_or_else(missing)?;
    span(value).ok_or_else(|| {
        format!("`{name}`: expected the span of a mention, [first word, one past the last], with words counted from 0")
    })
}

/// Reads `[0, 1]`, `{"start": 0, "end": 1}`, `{"pos": [0, 1]}` or `["Ann", "Q1", [[0]]]`.
fn span(value: &Value) -> Option<Range<usize>> {
    let whole = |value: &Value| usize::try_from(value.as_u64()?).ok();
    match value {
        Value::Array(ends) => match ends.as_slice() {
            [start, end] => Some(whole(start)?..whole(end)?),
            // FewRel: name, id and the places of the mention, of which the first counts.
            [Value::String(_), _, Value::Array(places)] => {
                let words = places.first()?.as_array()?.iter().map(whole).collect::<Option<Vec<usize>>>()?;
                let (first, end) = (*words.first()?, words.last()?.checked_add(1)?);
                words.iter().copied().eq(first..end).then_some(first..end)
            }
            _ => None,
        },
        Value::Object(mention) => match mention.get("pos") {
            Some(pair @ Value::Array(_)) => span(pair),
            _ => Some(whole(mention.get("start")?)?..whole(mention.get("end")?)?),
        },
        _ => None,
    }
}

fn id(object: &Map<String, Value>) -> Read<Option<String>> {
    match object.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => Ok(Some(id.clone())),
        Some(Value::Number(id)) if !id.is_f64() => Ok(Some(id.to_string())),
        Some(_) => Err("`id`: expected text or a whole number".to_owned()),
    }
}

/// Returns the path of the picture; none if there is none, or its bytes are in the row.
fn image(object: &Map<String, Value>) -> Option<PathBuf> {
    ["image", "image_id", "img_id"].iter().find_map(|key| object.get(*key)?.as_str()).map(PathBuf::from)
}
