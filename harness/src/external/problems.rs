//! Problems with predictions, counted by kind, so that one message tells all of them.

use std::fmt;

/// Number of examples in a message, shared out among the kinds of problems.
const EXAMPLES: usize = 20;

/// Where a row is in its file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowPlace {
    /// Line of a text file.
    Line(usize),
    /// Row of a Parquet file.
    Row(usize),
    /// Prediction in a list of them.
    Item(usize),
}

impl fmt::Display for RowPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
            Self::Item(item) => write!(f, "prediction {item}"),
        }
    }
}

/// All problems of one kind.
struct Kind {
    text: String,
    count: usize,
    /// The first problems found of this kind, at most [`EXAMPLES`]; none of a problem that happens once.
    examples: Vec<String>,
}

/// Problems by kind, in the order in which the kinds were found.
#[derive(Default)]
pub struct Problems(Vec<Kind>);

impl Problems {
    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a problem that happens once, such as a file that is missing.
    pub fn add_once(&mut self, text: String) {
        self.0.push(Kind { text, count: 1, examples: Vec::new() });
    }

    /// Adds a problem of a kind. `example` makes the text that tells it from others of its kind; only those that may be
    /// shown are made.
    pub fn add(&mut self, kind: String, example: impl FnOnce() -> String) {
        let index = self.0.iter().position(|known| known.text == kind).unwrap_or_else(|| {
            self.0.push(Kind { text: kind, count: 0, examples: Vec::new() });
            self.0.len() - 1
        });
        let known = &mut self.0[index];
        known.count += 1;
        if known.examples.len() < EXAMPLES {
            known.examples.push(example());
        }
    }

    /// Returns a paragraph for each kind: how many there are, and the first ones with a line each.
    pub fn paragraphs(&self) -> Vec<String> {
        let each = (EXAMPLES / self.0.len().max(1)).max(1);
        let shown = |index: usize| if index < EXAMPLES { each } else { 0 };
        self.0.iter().enumerate().map(|(index, kind)| kind.paragraph(shown(index))).collect()
    }
}

impl Kind {
    fn paragraph(&self, shown: usize) -> String {
        if self.examples.is_empty() {
            return self.text.clone();
        }
        let shown = &self.examples[..shown.min(self.examples.len())];
        let lines: String = shown.iter().map(|example| format!("\n    {example}")).collect();
        let more = match self.count - shown.len() {
            0 => String::new(),
            more => format!("\n    and {more} more"),
        };
        format!("{}: {}{lines}{more}", self.text, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_and_twenty_examples_are_shared_out() {
        let mut problems = Problems::default();
        (0..25).for_each(|i| problems.add("odd".to_owned(), || format!("line {i}")));
        let lines = |problems: &Problems| problems.paragraphs().join("\n").lines().count();
        assert_eq!(lines(&problems), 22, "the kind, twenty examples, and how many more");
        assert!(problems.paragraphs()[0].starts_with("odd: 25\n    line 0\n") && !problems.is_empty());
        assert!(problems.paragraphs()[0].ends_with("\n    line 19\n    and 5 more"));
        (0..3).for_each(|i| problems.add("even".to_owned(), || format!("row {i}")));
        problems.add_once("a.csv: no such file".to_owned());
        // Three kinds: six examples of each at most.
        let paragraphs = problems.paragraphs();
        assert!(paragraphs[0].ends_with("\n    line 5\n    and 19 more"), "{paragraphs:?}");
        assert_eq!(paragraphs[1..], ["even: 3\n    row 0\n    row 1\n    row 2", "a.csv: no such file"]);
        let mut many = Problems::default();
        (0..30).for_each(|kind| many.add(format!("kind {kind}"), || "x".to_owned()));
        assert_eq!(many.paragraphs().join("\n").matches("    x").count(), 20);
        assert!(many.paragraphs()[29].starts_with("kind 29: 1"));
    }
}
