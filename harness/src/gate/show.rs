//! Shows the outcome to people: as a Markdown table, which also serves as GitHub's job summary, and as GitHub annotations.

use std::collections::BTreeMap;

use super::key::GateKey;
use super::{GateOutcome, OutcomeLine, Verdict};
use crate::escape;

/// Returns a table with one line per metric, followed by the number of verdicts of each kind.
pub fn markdown(outcome: &GateOutcome) -> String {
    let mut text = String::from(
        "| benchmark | method | device | metric | expected | observed | allowed | verdict |\n|---|---|---|---|---:|---:|---:|---|\n",
    );
    for line in &outcome.lines {
        let GateKey { benchmark, method, device } = &line.key;
        let [benchmark, method, device, metric] =
            [benchmark, method, device, &line.metric].map(|name| escape::markdown(name));
        let [expected, observed, allowed] =
            [line.expected, line.observed.unwrap_or(f64::NAN), line.allowed].map(decimals);
        let numbers = format!("{expected} | {observed} | {allowed}");
        text += &format!("| {benchmark} | {method} | {device} | {metric} | {numbers} | {} |\n", verdict(line));
    }
    let count = |verdict| outcome.lines.iter().filter(|line| line.verdict == verdict).count();
    let passed = count(Verdict::Pass);
    let gains = count(Verdict::Gain);
    let failed = count(Verdict::Fail);
    text += &format!("\n{passed} passed, {gains} gained, {failed} failed.\n");
    if !outcome.unknown.is_empty() {
        let unknown: Vec<String> = outcome.unknown.iter().map(|folder| escape::markdown(folder)).collect();
        text += &format!("Not in the baseline: {}.\n", unknown.join(", "));
    }
    text
}

fn decimals(number: f64) -> String {
    if number.is_nan() { "-".to_owned() } else { format!("{number:.4}") }
}

fn verdict(line: &OutcomeLine) -> String {
    let reason = escape::markdown(&line.reason);
    match line.verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Gain => format!("gain: {reason}"),
        Verdict::Fail => format!("**FAIL**: {reason}"),
    }
}

/// Returns GitHub workflow commands: an error for each entry that failed and a notice for each that gained. GitHub shows
/// at most ten of a kind per step, so the metrics of an entry share one.
pub fn annotations(outcome: &GateOutcome) -> Vec<String> {
    let mut grouped: BTreeMap<(&str, &GateKey), Vec<String>> = BTreeMap::new();
    for line in &outcome.lines {
        let command = match line.verdict {
            Verdict::Pass => continue,
            Verdict::Gain => "notice",
            Verdict::Fail => "error",
        };
        grouped.entry((command, &line.key)).or_default().push(format!("{}: {}", line.metric, line.reason));
    }
    let command = |((command, key), reasons): ((&str, &GateKey), Vec<String>)| {
        let message = format!("{key}\n{}", reasons.join("\n"));
        format!("::{command} title=mkgc gate::{}", escaped(&message))
    };
    grouped.into_iter().map(command).collect()
}

/// Escapes the text of a workflow command as GitHub's toolkit does.
pub fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
