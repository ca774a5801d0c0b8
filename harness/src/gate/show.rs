//! The outcome for people: a Markdown table (also GitHub's job summary) and GitHub's annotations.

use std::collections::BTreeMap;

use super::{Key, Line, Outcome, Verdict};

/// A table with a line per metric, and what it says in a sentence.
pub fn markdown(outcome: &Outcome) -> String {
    let mut text = String::from(
        "| benchmark | method | device | metric | expected | observed | allowed | verdict |\n|---|---|---|---|---:|---:|---:|---|\n",
    );
    for line in &outcome.lines {
        let (benchmark, method, device) = &line.key;
        let observed = line.observed.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        let numbers = format!("{:.4} | {observed} | {:.4}", line.expected, line.allowed);
        text += &format!("| {benchmark} | {method} | {device} | {} | {numbers} | {} |\n", line.metric, verdict(line));
    }
    let count = |verdict| outcome.lines.iter().filter(|line| line.verdict == verdict).count();
    let (passed, gains, failed) = (count(Verdict::Pass), count(Verdict::Gain), count(Verdict::Fail));
    text += &format!("\n{passed} passed, {gains} gained, {failed} failed.\n");
    if !outcome.unknown.is_empty() {
        text += &format!("Not in the baseline: {}.\n", outcome.unknown.join(", "));
    }
    text
}

fn verdict(line: &Line) -> String {
    let reason = line.reason.replace('|', "\\|");
    match line.verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Gain => format!("gain: {reason}"),
        Verdict::Fail => format!("**FAIL**: {reason}"),
    }
}

/// GitHub's workflow commands: an error per entry that failed, a notice per entry that gained. A step shows ten of a
/// kind at most, so the metrics of an entry share one.
pub fn annotations(outcome: &Outcome) -> Vec<String> {
    let mut grouped: BTreeMap<(&str, &Key), Vec<String>> = BTreeMap::new();
    for line in &outcome.lines {
        let command = match line.verdict {
            Verdict::Pass => continue,
            Verdict::Gain => "notice",
            Verdict::Fail => "error",
        };
        grouped.entry((command, &line.key)).or_default().push(format!("{}: {}", line.metric, line.reason));
    }
    let command = |((command, (benchmark, method, device)), reasons): ((&str, &Key), Vec<String>)| {
        let message = format!("{benchmark} × {method} × {device}\n{}", reasons.join("\n"));
        format!("::{command} title=mkgc gate::{}", escaped(&message))
    };
    grouped.into_iter().map(command).collect()
}

/// As GitHub's toolkit escapes the text of a command.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
