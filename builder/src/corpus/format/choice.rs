//! Chooses a format by its name in a `[corpus]` table, and sets it up by the other keys. `splits/README.md` explains every
//! key.

use std::sync::Arc;

use toml::Table;

use super::columns::{Conll, Separator};
use super::entities::{EntityFields, Marks, SpanList};
use super::fewrel::FewRel;
use super::jsonl::Jsonl;
use super::mnre::Mnre;
use super::options::{KeyError, Keyed, Options, chosen};
use super::parquet_rows::ParquetRows;
use super::raw::Format;
use super::relations::{MentionFields, RelationFields};
use super::rows::RowFields;
use super::scheme::Scheme;
use super::sentence::{SentenceFields, WordField};
use super::spans::{SpanEnd, SpanField};
use super::tacred::Tacred;
use super::twitter;
use super::value::FieldPath;
use crate::bio::OUTSIDE;
use crate::corpus::types::Extraction;

/// A format that a `[corpus]` table chose.
#[derive(Debug, Clone)]
pub struct FormatChoice {
    /// Whether its records mark relations or entities.
    pub kind: Extraction,
    /// The format, set up by the keys of the table.
    pub format: Arc<dyn Format>,
    /// The name of "no class" that comes with the format; formats without one leave it to the table.
    pub none: Option<&'static str>,
}

/// Makes a format of its keys.
type Make = fn(&str, Table) -> Keyed<FormatChoice>;

/// The formats that a `[corpus]` table can name.
const FORMATS: [(&str, Make); 8] = [
    ("mnre", |name, table| fixed(name, table, Mnre, Some("None"))),
    ("twitter", |name, table| columns(name, table, twitter::tweets())),
    ("conll", |name, table| columns(name, table, Conll::default())),
    ("fewrel", |name, table| fixed(name, table, FewRel, None)),
    ("tacred", |name, table| fixed(name, table, Tacred, Some("no_relation"))),
    ("jsonl-relations", |name, table| {
        let options = Options::new(name, table, &[SENTENCE_KEYS, RELATION_KEYS].concat())?;
        Ok(mapped(RowFields::Relations(relations(&options)?), |fields| Arc::new(Jsonl { fields })))
    }),
    ("jsonl-entities", |name, table| {
        let options = Options::new(name, table, &[SENTENCE_KEYS, ENTITY_KEYS].concat())?;
        Ok(mapped(RowFields::Entities(entities(&options)?), |fields| Arc::new(Jsonl { fields })))
    }),
    ("parquet", parquet),
];

const COLUMN_KEYS: &[&str] = &["token_column", "tag_column", "separator", "scheme", "comment"];
const SENTENCE_KEYS: &[&str] = &["tokens", "text", "image", "id", "labels", "span_end"];
const RELATION_KEYS: &[&str] = &["head", "tail", "relation", "head_name", "tail_name"];
const ENTITY_KEYS: &[&str] = &["tags", "scheme", "spans", "span_keys"];

/// Makes the format `name` of the keys of a `[corpus]` table that are about the layout of files.
///
/// # Errors
/// There is no such format, or a key is unknown to it, missing, or has a bad value.
///
/// # Examples
/// ```
/// let options = toml::toml! { token_column = 1 };
/// let choice = mkgc_builder::corpus::format::from_table("conll", options).unwrap();
/// assert_eq!(choice.kind, mkgc_builder::corpus::Extraction::Entities);
/// ```
pub fn from_table(name: &str, options: Table) -> Result<FormatChoice, KeyError> {
    let convert = "convert files of another layout to one of them (splits/README.md says how)";
    let make = chosen(name, &FORMATS).map_err(|reason| KeyError::new("format", format!("{reason}; {convert}")))?;
    make(name, options)
}

/// Makes a format of relations that has no keys of its own.
fn fixed(name: &str, table: Table, format: impl Format + 'static, none: Option<&'static str>) -> Keyed<FormatChoice> {
    Options::new(name, table, &[])?;
    Ok(FormatChoice { kind: Extraction::Relations, format: Arc::new(format), none })
}

fn columns(name: &str, table: Table, default: Conll) -> Keyed<FormatChoice> {
    let options = Options::new(name, table, COLUMN_KEYS)?;
    let token_column = options.integer("token_column")?.unwrap_or(default.token_column);
    let tag_column = options.integer("tag_column")?.unwrap_or(default.tag_column);
    if token_column == tag_column {
        return Err(KeyError::new("tag_column", "is the `token_column`, too; words and tags need a column each"));
    }
    let format = Conll {
        token_column,
        tag_column,
        separator: options.choice("separator", &Separator::NAMES)?.or(default.separator),
        scheme: options.choice("scheme", &Scheme::NAMES)?.or(default.scheme),
        comment: options.text("comment")?,
        pictures: default.pictures,
    };
    Ok(FormatChoice { kind: Extraction::Entities, format: Arc::new(format), none: Some(OUTSIDE) })
}

fn parquet(name: &str, table: Table) -> Keyed<FormatChoice> {
    let options = Options::new(name, table, &[SENTENCE_KEYS, RELATION_KEYS, ENTITY_KEYS].concat())?;
    let relation = RELATION_KEYS.iter().find(|key| options.has(key));
    let entity = ENTITY_KEYS.iter().find(|key| options.has(key));
    let fields = match (relation, entity) {
        (Some(_), None) => RowFields::Relations(relations(&options)?),
        (None, Some(_)) => RowFields::Entities(entities(&options)?),
        (Some(relation), Some(entity)) => {
            let reason = format!("is for entities, but `{relation}` is for relations; a corpus has one of them");
            return Err(KeyError::new(entity, reason));
        }
        (None, None) => {
            let reason = "missing: name the columns `relation`, `head` and `tail`, or `tags`, or `spans`";
            return Err(KeyError::new("relation", reason));
        }
    };
    Ok(mapped(fields, |fields| Arc::new(ParquetRows { fields })))
}

fn mapped(fields: RowFields, format: impl FnOnce(RowFields) -> Arc<dyn Format>) -> FormatChoice {
    let kind = fields.kind();
    let none = (kind == Extraction::Entities).then_some(OUTSIDE);
    FormatChoice { kind, format: format(fields), none }
}

fn sentence(options: &Options) -> Keyed<SentenceFields> {
    let words = match (options.field("tokens")?, options.field("text")?) {
        (Some(_), Some(_)) => return Err(KeyError::new("text", "stands beside `tokens`; give one of them")),
        (None, Some(path)) => WordField::Text(path),
        (tokens, None) => WordField::Tokens(tokens.unwrap_or_else(|| FieldPath::new("tokens"))),
    };
    Ok(SentenceFields { words, image: options.field("image")?, id: options.field("id")? })
}

fn span_end(options: &Options, choices: &[(&str, SpanEnd)]) -> Keyed<SpanEnd> {
    let meanings =
        "`exclusive` if the second number of a span is one past its last word, `inclusive` if it is the last word";
    let missing = || KeyError::new("span_end", format!("missing: say {meanings}"));
    options.choice("span_end", choices)?.ok_or_else(missing)
}

fn relations(options: &Options) -> Keyed<RelationFields> {
    let mention = |key: &str, name: &str| {
        let span = match options.fields(key)?.as_deref() {
            None => SpanField::One(FieldPath::new(key)),
            Some([start, end]) => SpanField::Two(start.clone(), end.clone()),
            Some(paths) => SpanField::One(paths[0].clone()),
        };
        Ok(MentionFields { span, name: options.field(name)? })
    };
    let choices = [("exclusive", SpanEnd::Exclusive), ("inclusive", SpanEnd::Inclusive), ("indices", SpanEnd::Indices)];
    let fields = RelationFields {
        sentence: sentence(options)?,
        head: mention("head", "head_name")?,
        tail: mention("tail", "tail_name")?,
        span_end: span_end(options, &choices)?,
        exact_names: false,
        relation: options.field("relation")?.unwrap_or_else(|| FieldPath::new("relation")),
        labels: options.texts("labels")?.unwrap_or_default(),
    };
    let two = [(&fields.head, "head"), (&fields.tail, "tail")];
    let two = two.into_iter().find(|(mention, _)| matches!(mention.span, SpanField::Two(..)));
    match two.filter(|_| fields.span_end == SpanEnd::Indices) {
        Some((_, key)) => Err(KeyError::new(key, "names two fields, but a list of indices is in one")),
        None => Ok(fields),
    }
}

fn entities(options: &Options) -> Keyed<EntityFields> {
    let marks = match options.field("spans")? {
        None => {
            if let Some(key) = ["span_end", "span_keys"].into_iter().find(|key| options.has(key)) {
                return Err(KeyError::new(key, "is for entities as spans; name their field with `spans`"));
            }
            let path = options.field("tags")?.unwrap_or_else(|| FieldPath::new("tags"));
            Marks::Tags { path, scheme: options.choice("scheme", &Scheme::NAMES)? }
        }
        Some(path) => {
            if let Some(key) = ["tags", "scheme"].into_iter().find(|key| options.has(key)) {
                return Err(KeyError::new(key, "is for entities as tags, but `spans` is given; keep one"));
            }
            let span_end = span_end(options, &[("exclusive", SpanEnd::Exclusive), ("inclusive", SpanEnd::Inclusive)])?;
            Marks::Spans(SpanList { path, span_end, keys: span_keys(options)? })
        }
    };
    Ok(EntityFields { sentence: sentence(options)?, marks, labels: options.texts("labels")?.unwrap_or_default() })
}

/// Returns the keys of an entity that is an object: start, end and type.
fn span_keys(options: &Options) -> Keyed<[FieldPath; 3]> {
    let keys = options.texts("span_keys")?.unwrap_or_else(|| ["start", "end", "type"].map(str::to_owned).to_vec());
    let keys: Vec<FieldPath> = keys.into_iter().map(FieldPath).collect();
    keys.try_into().map_err(|_| KeyError::new("span_keys", "expected three names: those of start, end and type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(name: &str, options: &str) -> Result<FormatChoice, String> {
        from_table(name, toml::from_str(options).unwrap()).map_err(|error| format!("{}: {}", error.key, error.reason))
    }

    #[test]
    fn every_format_is_made_of_its_keys() {
        use Extraction::{Entities, Relations};
        for (name, options, kind, none) in [
            ("mnre", "", Relations, Some("None")),
            ("twitter", "scheme = 'iob1'", Entities, Some("O")),
            ("conll", "token_column = 1\ntag_column = -2\nseparator = 'blanks'\ncomment = '#'", Entities, Some("O")),
            ("fewrel", "", Relations, None),
            ("tacred", "", Relations, Some("no_relation")),
            ("jsonl-relations", "span_end = 'exclusive'", Relations, None),
            ("jsonl-relations", "head = ['a', 'b']\nspan_end = 'inclusive'\nid = 'id'", Relations, None),
            ("jsonl-entities", "", Entities, Some("O")),
            ("jsonl-entities", "spans = 's'\nspan_end = 'inclusive'\ntext = 't'", Entities, Some("O")),
            ("parquet", "relation = 'r'\nspan_end = 'indices'", Relations, None),
            ("parquet", "tags = 'ner_tags'\nlabels = ['O', 'B-PER']", Entities, Some("O")),
        ] {
            let choice = choose(name, options).unwrap();
            assert_eq!(choice.kind, kind, "{name}");
            assert_eq!(choice.none, none, "{name}");
        }
    }

    #[test]
    fn every_bad_key_is_named() {
        for (name, options, message) in [
            ("conl", "", "format: unknown value `conl` (did you mean `conll`?); known: mnre, twitter, conll, fewrel"),
            ("mnre", "scheme = 'bio'", "scheme: unknown key of the format `mnre`; it has no keys of its own"),
            (
                "conll",
                "tag_colum = 1",
                "tag_colum: unknown key of the format `conll` (did you mean `tag_column`?); its keys",
            ),
            ("conll", "tag_column = '1'", "tag_column: expected a whole number, found string"),
            ("conll", "tag_column = 0", "tag_column: is the `token_column`, too"),
            (
                "conll",
                "scheme = 'bilu'",
                "scheme: unknown value `bilu` (did you mean `bilou`?); known: bio, iob2, iob1",
            ),
            ("conll", "comment = ''", "comment: expected a text that is not empty"),
            ("jsonl-relations", "", "span_end: missing: say `exclusive` if"),
            ("jsonl-relations", "span_end = 'half-open'", "span_end: unknown value `half-open`; known: exclusive"),
            (
                "jsonl-relations",
                "tags = 't'\nspan_end = 'inclusive'",
                "tags: unknown key of the format `jsonl-relations`",
            ),
            (
                "jsonl-relations",
                "head = ['a', 'b', 'c']\nspan_end = 'inclusive'",
                "head: expected the name of a field, or a list of two",
            ),
            ("jsonl-relations", "tail = ['a', 'b']\nspan_end = 'indices'", "tail: names two fields, but"),
            ("jsonl-entities", "text = 'a'\ntokens = 'b'", "text: stands beside `tokens`"),
            ("jsonl-entities", "span_end = 'inclusive'", "span_end: is for entities as spans"),
            ("jsonl-entities", "spans = 's'", "span_end: missing"),
            ("jsonl-entities", "spans = 's'\ntags = 't'", "tags: is for entities as tags, but `spans` is given"),
            ("jsonl-entities", "spans = 's'\nspan_end = 'indices'", "span_end: unknown value `indices`"),
            (
                "jsonl-entities",
                "spans = 's'\nspan_end = 'inclusive'\nspan_keys = ['a']",
                "span_keys: expected three names",
            ),
            ("jsonl-entities", "labels = [1]", "labels: expected a list of texts, found array"),
            ("parquet", "tokens = 'a'", "relation: missing: name the columns"),
            ("parquet", "relation = 'r'\ntags = 't'", "tags: is for entities, but `relation` is for relations"),
        ] {
            let error = choose(name, options).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
