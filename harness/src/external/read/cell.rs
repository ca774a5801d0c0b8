//! The cells of a row, the same for every format: stages, ids, labels and scores are read from here, so that a value means
//! the same in JSON lines, CSV and Parquet.

use mkgc_builder::corpus::Extraction;
use mkgc_builder::labels::LabelSet;

use super::list::{self, LEFT_OUT};

/// What a row has in one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing: no such key, an empty field, null, or NaN, by which pandas marks a missing value.
    Missing,
    /// A number, which may be infinite.
    Number(f64),
    /// Text without white space around it, and not empty.
    Text(String),
    /// A list of cells, such as a tag per word or a score per label.
    List(Vec<Self>),
    /// Anything else, such as an object or a truth value.
    Other,
}

/// Why a cell cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct CellFault {
    /// What such cells have in common.
    pub kind: String,
    /// The cell as a message shows it, with long text and lists cut short.
    pub cell: String,
}

impl Cell {
    /// Makes the cell of a number.
    pub fn number(number: f64) -> Self {
        if number.is_nan() { Self::Missing } else { Self::Number(number) }
    }

    /// Makes the cell of a text.
    pub fn text(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() { Self::Missing } else { Self::Text(text.to_owned()) }
    }

    /// Reads a 0-based stage; `None` if there is none. pandas writes whole numbers as 1.0 if one of the column is missing.
    pub fn stage(&self) -> Result<Option<usize>, CellFault> {
        let number = match self {
            Self::Missing => return Ok(None),
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::List(_) | Self::Other => None,
        };
        match number {
            Some(number) if number.is_nan() => Ok(None),
            Some(number) if number >= 0.0 && number.fract() == 0.0 => Ok(Some(number as usize)),
            _ => Err(self.fault("stages that are not whole numbers from 0")),
        }
    }

    /// Reads the id of a row.
    pub fn id(&self) -> Result<String, CellFault> {
        match self {
            Self::Missing => Err(self.fault("rows without an id")),
            _ => self.label().ok_or_else(|| self.fault("ids that are not text")),
        }
    }

    /// Reads names or ids of labels: of relations one, of entities one per word.
    pub fn labels(&self, labels: &LabelSet) -> Result<Vec<String>, CellFault> {
        let read: Vec<Self> = match self {
            Self::Missing | Self::Number(_) => vec![self.clone()],
            // A label may be called `[x]`.
            Self::Text(text) if labels.id(text).is_none() && list::is_list(text) => texts(list::items(text)),
            Self::Text(_) if labels.kind() == Extraction::Relations => vec![self.clone()],
            Self::Text(text) => texts(text.split_whitespace()),
            Self::List(cells) => cells.clone(),
            Self::Other => return Err(self.fault(NO_LABELS)),
        };
        if read.contains(&Self::Missing) {
            return Err(self.fault(&empty(labels)));
        }
        if read.contains(&Self::Text(LEFT_OUT.to_owned())) {
            return Err(self.fault(CUT_SHORT));
        }
        let read: Option<Vec<String>> = read.iter().map(Self::label).collect();
        read.ok_or_else(|| self.fault(NO_LABELS))
    }

    /// Reads scores: minus infinity where a label has none, and nothing if the row has none.
    pub fn scores(&self) -> Result<Vec<f32>, CellFault> {
        let read: Vec<Self> = match self {
            Self::Missing => Vec::new(),
            Self::Text(text) => texts(list::items(text)),
            Self::List(cells) => cells.clone(),
            Self::Number(_) | Self::Other => return Err(self.fault(NO_SCORES)),
        };
        if read.contains(&Self::Text(LEFT_OUT.to_owned())) {
            return Err(self.fault(CUT_SHORT));
        }
        let read: Option<Vec<f32>> = read.iter().map(Self::score).collect();
        read.ok_or_else(|| self.fault(NO_SCORES))
    }

    fn label(&self) -> Option<String> {
        match self {
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
            Self::Missing | Self::List(_) | Self::Other => None,
        }
    }

    fn score(&self) -> Option<f32> {
        let score = match self {
            Self::Missing => f32::NAN,
            Self::Number(number) => *number as f32,
            Self::Text(text) if ["none", "null", "<na>"].contains(&text.to_ascii_lowercase().as_str()) => f32::NAN,
            Self::Text(text) => text.parse().ok()?,
            Self::List(_) | Self::Other => return None,
        };
        Some(if score.is_nan() { f32::NEG_INFINITY } else { score })
    }

    fn fault(&self, kind: &str) -> CellFault {
        CellFault { kind: kind.to_owned(), cell: self.shown() }
    }

    /// Returns the cell as a message shows it.
    fn shown(&self) -> String {
        match self {
            Self::Missing => "nothing".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("`{}`", shortened(text)),
            Self::List(cells) => {
                let first: Vec<String> = cells.iter().take(3).map(Self::shown).collect();
                format!("[{}{}]", first.join(", "), if cells.len() > 3 { ", …" } else { "" })
            }
            Self::Other => "a truth value, an object or the like".to_owned(),
        }
    }
}

/// What is wrong with a prediction of another type.
const NO_LABELS: &str = "predictions that are neither text, numbers nor lists of them";

/// What is wrong with scores of another type.
const NO_SCORES: &str = "scores that are not a list of numbers";

/// What is wrong with a list that NumPy cut short, and the remedy.
const CUT_SHORT: &str = "lists that NumPy or PyTorch cut short with `...` (write what `.tolist()` returns)";

/// Returns what is wrong with a missing prediction, and how pandas may have lost it.
fn empty(labels: &LabelSet) -> String {
    match labels.kind() {
        Extraction::Entities => "predictions that are empty".to_owned(),
        Extraction::Relations => {
            let none = labels.none();
            format!(
                "predictions that are empty (pandas takes `None`, `NA` and the like for missing values and writes nothing: \
                 read with `keep_default_na=False`, or write `{none}` with `na_rep=\"{none}\"`)"
            )
        }
    }
}

fn texts(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Cell> {
    texts.into_iter().map(|text| Cell::text(text.as_ref())).collect()
}

/// Returns the beginning of a text, on one line.
pub fn shortened(text: &str) -> String {
    const CHARS: usize = 40;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let start: String = line.chars().take(CHARS).collect();
    if start.len() < line.len() { start + "…" } else { start }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(text: &str) -> Cell {
        Cell::text(text)
    }

    fn labels(kind: Extraction) -> LabelSet {
        LabelSet::number(kind, "None", [["PER".to_owned(), "[x]".to_owned()].as_slice()])
    }

    #[test]
    fn stages_are_whole_numbers() {
        for one in [Cell::Number(1.0), text("1"), text("1.0"), text(" 1 ")] {
            assert_eq!(one.stage(), Ok(Some(1)));
        }
        for none in [Cell::Missing, Cell::number(f64::NAN), text("nan"), text("NaN"), text("")] {
            assert_eq!(none.stage(), Ok(None));
        }
        let wrong = [
            (Cell::Number(0.7), "0.7"),
            (Cell::Number(-1.0), "-1"),
            (Cell::Number(f64::INFINITY), "inf"),
            (text("0.7"), "`0.7`"),
            (text("last"), "`last`"),
            (Cell::List(vec![Cell::Number(1.0)]), "[1]"),
            (Cell::Other, "a truth value, an object or the like"),
        ];
        for (cell, shown) in wrong {
            let fault = cell.stage().unwrap_err();
            assert_eq!((fault.kind.as_str(), fault.cell.as_str()), ("stages that are not whole numbers from 0", shown));
        }
    }

    #[test]
    fn labels_are_read_from_lists_texts_and_numbers() {
        let tags = ["O", "B-PER"];
        let list = |of: &[&str]| Cell::List(of.iter().map(|item| text(item)).collect());
        for cell in [list(&tags), text("O B-PER"), text("['O', 'B-PER']"), text("['O' 'B-PER']")] {
            assert_eq!(cell.labels(&labels(Extraction::Entities)).unwrap(), tags);
        }
        let relations = labels(Extraction::Relations);
        let one = |cell: Cell| cell.labels(&relations).unwrap();
        assert_eq!(one(Cell::Number(3.0)), ["3"]);
        assert_eq!(one(text("place of birth")), ["place of birth"]);
        assert_eq!(one(text("['place of birth']")), ["place of birth"]);
        assert_eq!(one(list(&["x"])), ["x"]);
        assert_eq!((one(text("[x]")), one(text("[y]"))), (vec!["[x]".to_owned()], vec!["y".to_owned()]));
        for lost in [Cell::Missing, Cell::number(f64::NAN), text(""), Cell::List(vec![Cell::Missing])] {
            let fault = lost.labels(&relations).unwrap_err();
            assert!(
                fault.kind.contains("na_rep=\"None\"") && fault.kind.contains("keep_default_na=False"),
                "{fault:?}"
            );
        }
        assert_eq!(Cell::Missing.labels(&labels(Extraction::Entities)).unwrap_err().kind, "predictions that are empty");
        assert!(Cell::Other.labels(&relations).unwrap_err().kind.contains("neither text, numbers nor lists"));
        assert_eq!(text("['O' ... 'O']").labels(&relations).unwrap_err().kind, CUT_SHORT);
    }

    #[test]
    fn a_label_without_a_score_has_minus_infinity() {
        let none = f32::NEG_INFINITY;
        let expected = [0.5, none, none, none, 1.0];
        let list = vec![Cell::Number(0.5), Cell::number(f64::NAN), Cell::Missing, Cell::Number(-1e39), text("1")];
        assert_eq!(Cell::List(list).scores().unwrap(), expected);
        for row in ["0.5 nan None -inf 1", "[0.5, NaN, null, -Infinity, 1.0]", "[ 0.5 nan  nan -inf\n  1.]"] {
            assert_eq!(text(row).scores().unwrap(), expected, "{row}");
        }
        assert_eq!(Cell::Missing.scores().unwrap(), [0.0; 0]);
        assert_eq!(text("inf 0").scores().unwrap(), [f32::INFINITY, 0.0]);
        for wrong in [text("0.5 high"), Cell::Number(0.5), Cell::Other, Cell::List(vec![Cell::Other])] {
            assert_eq!(wrong.scores().unwrap_err().kind, "scores that are not a list of numbers");
        }
        assert_eq!(text("[0.1 ... 0.2]").scores().unwrap_err().kind, CUT_SHORT);
        let long = text(&"0.5 ".repeat(50)).fault("x").cell;
        assert!(long.chars().count() == 43 && long.ends_with("…`"), "{long}");
    }
}
