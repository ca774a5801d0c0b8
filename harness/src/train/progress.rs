//! The line that says how a run is doing after each task: micro-F1, and its mean over the tasks so far.

use crate::error::Result;
use crate::metrics::StageMetric;
use crate::metrics::stage::StageScores;
use crate::metrics::value::{Mean, Value};
use crate::run::log::Log;

/// Micro-F1 after each task so far.
#[derive(Default)]
pub(super) struct ScoresSoFar(Vec<Value>);

impl ScoresSoFar {
    /// Adds the scores after a task called `name` to the log.
    pub(super) fn report(&mut self, log: &mut Log, name: &str, scores: &StageScores) -> Result<()> {
        self.0.push(scores.micro_f1.clone());
        let shown = StageMetric::ALL.iter().filter(|metric| !metric.masked());
        let shown: Vec<(&str, f64)> =
            shown.filter_map(|metric| Some((metric.key(), scores.get(*metric).number()?))).collect();
        log.scores(scores.tasks_learned - 1, &summary(name, &self.0), &shown)
    }
}

/// Formats micro-F1 after a task, the last of `scored`, and its mean over the tasks so far.
fn summary(task: &str, scored: &[Value]) -> String {
    let percent = |value: &Value| match value {
        Value::Number(share) => format!("{:.1}", share * 100.0),
        Value::Undefined(reason) => reason.clone(),
    };
    let last = scored.last().map_or_else(String::new, percent);
    format!("{task}: micro-F1 {last}, average so far {}", percent(&Mean::over(scored).value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_scores_names_the_task_and_averages_what_is_defined() {
        let mut scored = vec![Value::Number(0.895)];
        assert_eq!(summary("peer", &scored), "peer: micro-F1 89.5, average so far 89.5");
        scored.extend([Value::undefined("no test rows after task 2"), Value::Number(0.5)]);
        assert_eq!(
            summary("a b", &scored[..2]),
            "a b: micro-F1 undefined: no test rows after task 2, average so far 89.5"
        );
        assert_eq!(summary("c", &scored), "c: micro-F1 50.0, average so far 69.8");
    }
}
