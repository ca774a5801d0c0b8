//! The layout of a file of columns, as stated or found out: what separates them, how many there are, and how tags mark
//! entities.
//!
//! The majority of the lines decides, so that a damaged line is an error and does not change how the others are read.

use std::collections::BTreeMap;

use super::lines::lines;
use super::raw::RawFile;
use super::scheme::{Scheme, SchemeSurvey, is_tag};
use super::sentence::Field;
use crate::error::{Error, Result};

/// Starts the line that names the picture of a sentence.
pub(super) const HEADER: &str = "IMGID:";

/// Starts a line that separates documents.
pub(super) const DOCUMENT: &str = "-DOCSTART-";

/// What separates the columns of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    /// Exactly one tab stands between two columns.
    Tab,
    /// Any number of blanks and tabs stands between two columns.
    Blanks,
}

impl Separator {
    /// The names that state a separator in a `[corpus]` table.
    pub(super) const NAMES: [(&str, Self); 2] = [("tab", Self::Tab), ("blanks", Self::Blanks)];

    fn split<'l>(self, line: &'l str, columns: &mut Vec<&'l str>) {
        columns.clear();
        match self {
            Self::Tab => columns.extend(line.split('\t')),
            Self::Blanks => columns.extend(line.split([' ', '\t']).filter(|column| !column.is_empty())),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tab => "tabs",
            Self::Blanks => "blanks",
        }
    }
}

/// The format of columns. What is not stated is found out per file; see [`Layout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conll {
    /// The column of the word, from 0; negative numbers count from the last one, which is -1.
    pub(super) token_column: i64,
    /// The column of the tag.
    pub(super) tag_column: i64,
    pub(super) separator: Option<Separator>,
    pub(super) scheme: Option<Scheme>,
    /// Begins the comments that stand before the first word of a sentence.
    pub(super) comment: Option<String>,
    /// Whether every sentence must name its picture, even if none does.
    pub(super) pictures: bool,
}

impl Default for Conll {
    fn default() -> Self {
        Self { token_column: 0, tag_column: -1, separator: None, scheme: None, comment: None, pictures: false }
    }
}

impl Conll {
    /// Returns whether a line begins as comments do.
    pub(super) fn may_be_comment(&self, line: &str) -> bool {
        self.comment.as_ref().is_some_and(|prefix| line.starts_with(prefix))
    }
}

/// How the lines of a file are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    separator: Separator,
    /// The number of columns of most lines.
    columns: usize,
    token_column: usize,
    tag_column: usize,
    pub(super) scheme: Scheme,
    /// Whether every sentence names its picture.
    pub(super) pictures: bool,
}

impl Layout {
    /// Finds out the layout of a file, except for what `format` states.
    ///
    /// # Errors
    /// The file has too few columns, or word and tag are in the same one.
    pub(super) fn survey(format: &Conll, file: &RawFile<'_>) -> Result<Self> {
        let separator = format.separator.unwrap_or_else(|| most_common_separator(format, file));
        let mut headers = false;
        // How many lines have each number of columns, and the first of them.
        let mut counts: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut columns = Vec::new();
        for (number, line) in word_lines(format, file, &mut headers) {
            separator.split(line, &mut columns);
            counts.entry(columns.len()).or_insert((0, number)).0 += 1;
        }
        // Of equally frequent numbers of columns, the larger one: a line loses columns more easily than it gains some.
        let Some((&columns, &(_, line))) = counts.iter().max_by_key(|(columns, (lines, _))| (*lines, **columns)) else {
            // No line can be read, so no record uses the layout.
            let pictures = format.pictures || headers;
            return Ok(Self { separator, columns: 0, token_column: 0, tag_column: 0, scheme: Scheme::Bio, pictures });
        };
        let choose = |key: &str, column: i64| {
            let chosen = if column < 0 { columns as i64 + column } else { column };
            usize::try_from(chosen).ok().filter(|chosen| *chosen < columns).ok_or_else(|| {
                let by = separator.name();
                let reason = format!("no column {column} (`{key}`): the line has {columns} columns separated by {by}");
                Error::corpus(file.path, line, reason)
            })
        };
        let token_column = choose("token_column", format.token_column)?;
        let tag_column = choose("tag_column", format.tag_column)?;
        if token_column == tag_column {
            let reason = format!(
                "word and tag are both read from column {token_column} of {columns}; check `separator`, `token_column` \
                 and `tag_column`"
            );
            return Err(Error::corpus(file.path, line, reason));
        }
        let pictures = format.pictures || headers;
        let layout = Self { separator, columns, token_column, tag_column, scheme: Scheme::Bio, pictures };
        let scheme = match format.scheme {
            Some(scheme) => scheme,
            None => layout.scheme_of(format, file)?,
        };
        Ok(Self { scheme, ..layout })
    }

    fn scheme_of(&self, format: &Conll, file: &RawFile<'_>) -> Result<Scheme> {
        let mut survey = SchemeSurvey::default();
        let mut before = None;
        let mut columns = Columns::default();
        for (_, line) in lines(file.path, file.bytes) {
            let line = line.ok().filter(|line| !format.may_be_comment(line) || self.reads_as_word(line));
            let tag = line.and_then(|line| self.word(line, &mut columns).ok()).map(|(_, tag)| tag);
            if let Some(tag) = tag {
                survey.add(tag, before);
            }
            before = tag;
        }
        match survey.doubt() {
            Some(doubt) => {
                let read = format!("tags were read from column {} of {}", self.tag_column, self.columns);
                Err(Error::corpus(file.path, 1, format!("{doubt}; {read} (`tag_column`, `separator`)")))
            }
            None => Ok(survey.scheme()),
        }
    }

    /// Returns the word of a line and its tag.
    ///
    /// # Errors
    /// The line has more or fewer columns than the others, or its word is blank.
    pub(super) fn word<'l>(&self, line: &'l str, columns: &mut Columns<'l>) -> Field<(&'l str, &'l str)> {
        let columns = &mut columns.0;
        self.separator.split(line, columns);
        let expected = self.columns;
        let by = self.separator.name();
        let hint = if line.starts_with('#') { "; if it is a comment, set `comment = \"#\"`" } else { "" };
        let found = columns.len();
        if found == 1 {
            let missing = "word without label: expected";
            return Err(format!("{missing} {expected} columns separated by {by}, found `{line}`{hint}"));
        }
        if found != expected {
            return Err(format!("{found} columns separated by {by}, where most lines have {expected}: `{line}`{hint}"));
        }
        let token = columns[self.token_column];
        // A no-break space is a word of Twitter-2015.
        if token.trim_ascii().is_empty() {
            return Err("label without token: the word is blank".to_owned());
        }
        Ok((token, columns[self.tag_column]))
    }

    /// Returns whether a line that looks like a comment is that of a word after all: a word may be `#`. Where blanks
    /// separate columns, a comment may have as many as a word; then its last one is no tag.
    pub(super) fn reads_as_word(&self, line: &str) -> bool {
        let word = self.word(line, &mut Columns::default());
        word.is_ok_and(|(_, tag)| self.separator == Separator::Tab || is_tag(tag))
    }
}

/// The columns of a line; kept from line to line, so that not every line allocates.
#[derive(Debug, Default)]
pub(super) struct Columns<'l>(Vec<&'l str>);

/// Returns the separator that most lines have.
fn most_common_separator(format: &Conll, file: &RawFile<'_>) -> Separator {
    let mut tabs = 0;
    let mut others = 0;
    for (_, line) in word_lines(format, file, &mut false) {
        if line.contains('\t') {
            tabs += 1;
        } else {
            others += 1;
        }
    }
    if tabs >= others { Separator::Tab } else { Separator::Blanks }
}

/// Returns the lines that are those of words, with their numbers; `headers` becomes true if a line names a picture.
fn word_lines<'a>(
    format: &'a Conll,
    file: &'a RawFile<'_>,
    headers: &'a mut bool,
) -> impl Iterator<Item = (usize, &'a str)> {
    lines(file.path, file.bytes).filter_map(|(number, line)| {
        let line = line.ok()?;
        let header = line.starts_with(HEADER);
        *headers |= header;
        let other = header || line.trim().is_empty() || line.starts_with(DOCUMENT) || format.may_be_comment(line);
        (!other).then_some((number, line))
    })
}
