//! Damaged records of corpus files, gathered so that one run shows them all: the first ones with their lines, and how often
//! each kind occurs. Memory is bounded, however many there are.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Number of damages that are shown with their lines.
pub const SHOWN: usize = 20;

/// Number of kinds that are counted; further ones are counted together.
const KINDS: usize = 50;

/// What kinds beyond [`KINDS`] are counted as.
const OTHER: &str = "others";

/// A place in a corpus file that does not follow the format. It displays as `file:line: reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Path of the corpus file.
    pub file: PathBuf,
    /// The line at fault, 1-based.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.reason)
    }
}

/// The damages of all files of a corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damages {
    shown: Vec<Damage>,
    kinds: BTreeMap<String, usize>,
    total: usize,
    /// Whether one of them is confined to a record, which can be left out.
    of_records: bool,
}

impl Damages {
    /// Adds a damage that is confined to one record, which can be left out.
    pub fn push_record(&mut self, damage: Damage) {
        self.of_records = true;
        self.push(damage);
    }

    /// Adds a damage that makes a whole file useless. Only the first [`SHOWN`] damages are kept with their lines.
    pub fn push(&mut self, damage: Damage) {
        let kind = kind(&damage.reason);
        let room = self.kinds.len() < KINDS || self.kinds.contains_key(&kind);
        *self.kinds.entry(if room { kind } else { OTHER.to_owned() }).or_insert(0) += 1;
        self.total += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(damage);
        }
    }

    /// Says what can be done.
    pub fn remedy(&self) -> &'static str {
        if self.of_records {
            "mend the files, or leave damaged records out with --on-error skip"
        } else {
            "mend the files"
        }
    }

    /// Returns the number of damages.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns the first damages, at most [`SHOWN`], in the order of files and lines.
    pub fn shown(&self) -> &[Damage] {
        &self.shown
    }

    /// Returns every kind with the number of its damages, the most frequent first.
    pub fn kinds(&self) -> Vec<(&str, usize)> {
        let mut kinds: Vec<(&str, usize)> = self.kinds.iter().map(|(kind, n)| (kind.as_str(), *n)).collect();
        kinds.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        kinds
    }
}

impl fmt::Display for Damages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = self.remedy();
        if let [damage] = self.shown.as_slice() {
            return write!(f, "{damage}\n{remedy}");
        }
        writeln!(f, "{} damages in the corpus files", self.total)?;
        for damage in &self.shown {
            writeln!(f, "  {damage}")?;
        }
        let more = self.total - self.shown.len();
        if more > 0 {
            writeln!(f, "  and {more} more")?;
        }
        let kinds: Vec<String> = self.kinds().into_iter().map(|(kind, n)| format!("{n} x {kind}")).collect();
        writeln!(f, "by kind: {}", kinds.join("; "))?;
        f.write_str(remedy)
    }
}

/// Returns the kind of a damage: its reason up to the details, without the names and numbers of the one record.
fn kind(reason: &str) -> String {
    let mut kind = String::new();
    let mut quoted = false;
    let mut characters = reason.chars().peekable();
    while let Some(c) = characters.next() {
        // What follows the name of a field alone is no detail.
        let details = matches!(c, ':' | ';') && characters.peek().is_none_or(|next| *next == ' ') && kind != "`…`";
        if !quoted && (details || (c == '(' && kind.ends_with(' '))) {
            break;
        }
        match c {
            '`' => {
                kind.push_str(if quoted { "…`" } else { "`" });
                quoted = !quoted;
            }
            _ if quoted => {}
            // The digit of UTF-8 is part of a name.
            '0'..='9' if !kind.ends_with("UTF-") => {
                if !kind.ends_with('N') {
                    kind.push('N');
                }
            }
            _ => kind.push(c),
        }
    }
    kind.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(line: usize, reason: &str) -> Damage {
        Damage { file: "train.txt".into(), line, reason: reason.to_owned() }
    }

    #[test]
    fn reasons_of_one_kind_have_one_name() {
        for (reason, name) in [
            ("span [2, 19] of `t` is out of range: the sentence has 3 words", "span [N, N] of `…` is out of range"),
            ("unknown relation `/a: b` (did you mean `/a`?); known: /a", "unknown relation `…`"),
            ("bad tag `x`: expected O, B-<type> or I-<type>", "bad tag `…`"),
            ("expected a dict", "expected a dict"),
            (
                "`h.pos`: expected a span of two whole numbers (record 3 of the file)",
                "`…`: expected a span of two whole numbers",
            ),
            ("invalid UTF-8 at byte 21 of the line", "invalid UTF-8 at byte N of the line"),
        ] {
            assert_eq!(kind(reason), name);
        }
    }

    #[test]
    fn one_damage_is_a_line_and_many_are_counted() {
        let mut damages = Damages::default();
        damages.push(damage(3, "expected a dict"));
        assert_eq!(damages.to_string(), "train.txt:3: expected a dict\nmend the files");
        let mut damages = Damages::default();
        damages.push_record(damage(3, "expected a dict"));
        let remedy = "mend the files, or leave damaged records out with --on-error skip";
        assert_eq!(damages.to_string(), format!("train.txt:3: expected a dict\n{remedy}"));
        (4..20).for_each(|line| damages.push(damage(line, &format!("bad tag `{line}`"))));
        (20..41).for_each(|line| damages.push(damage(line, &format!("span [0, {line}] is out of range: no"))));
        let text = damages.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + SHOWN + 3);
        assert_eq!(lines[0], "38 damages in the corpus files");
        assert_eq!(lines[1], "  train.txt:3: expected a dict");
        assert_eq!(lines[SHOWN], "  train.txt:22: span [0, 22] is out of range: no");
        assert_eq!(lines[SHOWN + 1], "  and 18 more");
        assert_eq!(
            lines[SHOWN + 2],
            "by kind: 21 x span [N, N] is out of range; 16 x bad tag `…`; 1 x expected a dict"
        );
    }

    #[test]
    fn kinds_beyond_a_bound_are_counted_together() {
        let mut damages = Damages::default();
        let word = |n: usize| (0..3).map(|k| char::from(b'a' + (n / 26usize.pow(k) % 26) as u8)).collect::<String>();
        (0..1000).for_each(|n| damages.push(damage(n, &format!("{} is wrong", word(n)))));
        assert_eq!(damages.total(), 1000);
        assert_eq!(damages.shown().len(), SHOWN);
        assert_eq!(damages.kinds().len(), KINDS + 1);
        assert_eq!(damages.kinds()[0], (OTHER, 950));
    }
}
