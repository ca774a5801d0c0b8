//! The choice of EWC's λ by validation rows: at the second task, where the penalty begins, every value of the grid trains
//! from the same state with the same seeds and is scored on the validation rows of both tasks, with the labels seen. The
//! search goes on beyond the grid as long as the largest value could be the best one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use candle_core::{Device, Tensor};
use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::{Row, RowLabels};

use crate::data::Benchmark;
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::methods::method::Session;
use crate::run::checkpoint::State;
use crate::run::lambda::{LambdaChoice, LambdaScore};

/// The best trial so far.
struct Best {
    score: LambdaScore,
    /// The network's variables after it, and the lines of its log.
    made: State,
}

/// Parts of what a trial leaves behind.
const SCORE: &str = "score";
const NETWORK: &str = "network";
const LINES: &str = "lines";

/// Returns the micro-F1 of a trial as a part of a checkpoint; none where training diverged.
fn scored(outcome: Result<f64>) -> Result<State> {
    match outcome {
        Err(Error::Diverged(_)) => Ok(State::default()),
        outcome => Ok(State::default().with(SCORE, [(SCORE.to_owned(), Tensor::new(outcome?, &Device::Cpu)?)].into())),
    }
}

/// Returns the network and the lines of the log after a trial as parts of a checkpoint.
fn made(learner: &Learner, lines: &[String]) -> Result<State> {
    let text = lines.join("\n").into_bytes();
    let state = State::default().with(NETWORK, learner.params().tensors()?);
    if text.is_empty() {
        return Ok(state);
    }
    let size = text.len();
    Ok(state.with(LINES, [(LINES.to_owned(), Tensor::from_vec(text, size, &Device::Cpu)?)].into()))
}

/// Reads the lines that [`made`] stored.
fn lines(state: &mut State) -> Result<Vec<String>> {
    let bytes = state.take(LINES).remove(LINES).map_or(Ok(Vec::new()), |text| text.to_vec1::<u8>())?;
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

/// The largest λ that is tried beyond a grid. Where gradients are clipped, a larger λ makes no larger step, so that scores may
/// stay level and would never end the search.
const LARGEST: f64 = 1e12;

/// Returns a λ beyond those tried, the smallest first: ten times the largest, up to [`LARGEST`], while the micro-F1 of the
/// largest is at most one standard error below the best. Then the best may lie beyond the grid: either scores still rise,
/// or no value has acted yet and all scores are equal but for noise. The standard error is that of a share of the
/// validation `rows`, √(F1 (1 − F1) / rows), which approximates the one of micro-F1.
fn beyond(tried: &[LambdaScore], rows: usize) -> Option<f64> {
    let largest = tried.last()?;
    let best = tried.iter().map(|score| score.micro_f1).fold(0.0, f64::max);
    let error = (best * (1.0 - best) / rows as f64).sqrt();
    let next = 10.0 * largest.lambda;
    let open = largest.micro_f1 > 0.0 && largest.micro_f1 >= best - error;
    (open && next > 0.0 && next <= LARGEST).then_some(next)
}

/// Runs `trial`, which trains with a λ and returns its micro-F1 on the validation `rows`, for each λ of the grid from the
/// same variables, and for those [`beyond`] it. Leaves the network as the best trial made it, and returns its λ with the
/// scores of all, smallest λ first.
///
/// # Errors
/// Training diverges with every λ; an error of `trial`.
pub(super) fn search(
    learner: &Learner,
    session: &mut Session<'_>,
    rows: usize,
    mut trial: impl FnMut(f64, &mut Session<'_>) -> Result<f64>,
) -> Result<(f64, Vec<LambdaScore>)> {
    let mut grid = session.config.ewc_grid.clone();
    grid.sort_by(f64::total_cmp);
    let mut grid = VecDeque::from(grid);
    let start = learner.params().tensors()?;
    let steps = session.trace.steps;
    let mut scores = Vec::new();
    let mut best: Option<Best> = None;
    while let Some(lambda) = grid.pop_front().or_else(|| beyond(&scores, rows)) {
        learner.params().load(&start)?;
        session.trace.candidate(lambda);
        session.log.hold();
        let mut outcome = session.keep(&format!("trial {lambda}"), |session| scored(trial(lambda, session)))?;
        let held = session.log.held();
        let Some(micro_f1) = outcome.take(SCORE).remove(SCORE) else {
            scores.push(LambdaScore { lambda, micro_f1: 0.0 });
            continue;
        };
        let score = LambdaScore { lambda, micro_f1: micro_f1.to_scalar()? };
        if best.as_ref().is_none_or(|best| score.micro_f1 > best.score.micro_f1) {
            best = Some(Best { score, made: session.keep_newest("best trial", |_| made(learner, &held))? });
        }
        scores.push(score);
    }
    let diverged = "training diverged with every value of ewc_grid: give smaller ones, or lower lr_encoder";
    let diverged = || Error::Config { key: "ewc_grid".to_owned(), reason: diverged.to_owned() };
    let mut best = best.ok_or_else(diverged)?;
    learner.params().load(&best.made.take(NETWORK))?;
    session.log.keep(&lines(&mut best.made)?)?;
    session.trace.chosen(best.score.lambda, steps, scores.len());
    Ok((best.score.lambda, scores))
}

/// Returns the validation rows of the first two tasks, each row once.
///
/// # Errors
/// One of the tasks has none, or none of their rows has anything to find, so that no λ would have a score.
pub(super) fn validation_rows(benchmark: &Benchmark) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let refused = |reason: &str| Err(Error::Usage(format!("{reason}; give ewc_lambda and set ewc_grid = []")));
    for task in 0..2 {
        let of_task = benchmark.rows(task, Split::Validation)?;
        if of_task.is_empty() {
            return refused(&format!("task {} has no validation rows to choose λ by", task + 1));
        }
        rows.extend(of_task);
    }
    let mut known = BTreeSet::new();
    rows.retain(|row| known.insert(row.id.clone()));
    let class = |row: &Row| match &row.labels {
        RowLabels::Relation { relation, .. } => *relation != 0,
        RowLabels::Entities { tags, .. } => tags.iter().any(|tag| *tag != 0),
    };
    if !rows.iter().any(class) {
        return refused("no validation row of the first two tasks has a class, so that λ cannot be chosen by them");
    }
    Ok(rows)
}

/// Stores the choice as a part of the state: λ and score of each value, `[2, N]`; the λ chosen and the number of rows.
pub(super) fn to_state(choice: Option<&LambdaChoice>) -> Result<BTreeMap<String, Tensor>> {
    let Some(choice) = choice else { return Ok(BTreeMap::new()) };
    let column = |value: fn(&LambdaScore) -> f64| choice.scores.iter().map(value).collect::<Vec<_>>();
    let scores = Tensor::new(vec![column(|score| score.lambda), column(|score| score.micro_f1)], &Device::Cpu)?;
    let chosen = Tensor::new(&[choice.lambda, choice.validation_rows as f64], &Device::Cpu)?;
    Ok(BTreeMap::from([("scores".to_owned(), scores), ("chosen".to_owned(), chosen)]))
}

/// Reads the choice that [`to_state`] stored.
pub(super) fn from_state(state: &BTreeMap<String, Tensor>) -> Result<Option<LambdaChoice>> {
    let (Some(scores), Some(chosen)) = (state.get("scores"), state.get("chosen")) else { return Ok(None) };
    let scores = scores.to_vec2::<f64>()?;
    let chosen = chosen.to_vec1::<f64>()?;
    let pairs = scores[0].iter().zip(&scores[1]);
    let scores = pairs.map(|(lambda, micro_f1)| LambdaScore { lambda: *lambda, micro_f1: *micro_f1 }).collect();
    Ok(Some(LambdaChoice { lambda: chosen[0], validation_rows: chosen[1] as usize, scores }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is tried after these scores on 100 validation rows, where the standard error of 0.5 is 0.05.
    fn tried(scores: &[(f64, f64)]) -> Option<f64> {
        let scores = scores.iter().map(|(lambda, micro_f1)| LambdaScore { lambda: *lambda, micro_f1: *micro_f1 });
        beyond(&scores.collect::<Vec<_>>(), 100)
    }

    #[test]
    fn the_grid_goes_on_while_its_largest_value_may_be_the_best() {
        assert_eq!(tried(&[(10.0, 0.4), (100.0, 0.5)]), Some(1000.0));
        assert_eq!(tried(&[(10.0, 0.5), (100.0, 0.5)]), Some(1000.0));
        assert_eq!(tried(&[(10.0, 0.5), (100.0, 0.451)]), Some(1000.0));
        assert_eq!(tried(&[(10.0, 0.5), (100.0, 0.449)]), None);
        // The best of all counts, not the neighbour.
        assert_eq!(tried(&[(1.0, 0.5), (10.0, 0.44), (100.0, 0.44)]), None);
    }

    #[test]
    fn the_grid_ends_where_nothing_can_be_learned_from_going_on() {
        // Nothing is right with any value, no penalty, the bound, and nothing tried.
        assert_eq!(tried(&[(10.0, 0.0)]), None);
        assert_eq!(tried(&[(0.0, 0.5)]), None);
        assert_eq!(tried(&[(LARGEST / 10.0, 0.5)]), Some(LARGEST));
        assert_eq!(tried(&[(LARGEST, 0.5)]), None);
        assert_eq!(tried(&[]), None);
        // A perfect score has no error.
        assert_eq!(tried(&[(10.0, 1.0), (100.0, 0.999)]), None);
    }
}
