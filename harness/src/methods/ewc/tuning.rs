//! The choice of EWC's λ by validation rows: at the second task, where the penalty begins, every value of the grid trains
//! from the same state with the same seeds and is scored on the validation rows of both tasks, with the labels seen.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::Row;

use super::Ewc;
use crate::data::{Benchmark, Task};
use crate::error::{Error, Result};
use crate::methods::Session;
use crate::metrics::stage;
use crate::run::lambda::{LambdaChoice, LambdaScore};
use crate::run::log::Line;
use crate::run::record::DatasetRecord;
use crate::stream;

/// What the best value so far has made.
struct Best {
    score: LambdaScore,
    values: BTreeMap<String, Tensor>,
    lines: Vec<Line>,
}

impl Ewc {
    /// Trains with each λ of the grid and leaves the network as the best one made it.
    pub(super) fn choose(&self, task: &Task, session: &mut Session<'_>) -> Result<LambdaChoice> {
        let mut grid = session.config.ewc_grid.clone();
        grid.sort_by(f64::total_cmp);
        let rows = validation_rows(session.benchmark)?;
        let (start, steps) = (self.learner.params().tensors()?, session.ledger.steps);
        let (mut scores, mut best) = (Vec::new(), None);
        for lambda in grid {
            self.learner.params().load(&start)?;
            session.ledger.candidate(lambda);
            session.log.hold();
            let trained = self.train(lambda, task, session);
            let lines = session.log.held();
            if let Err(Error::Diverged(_)) = trained {
                scores.push(LambdaScore { lambda, micro_f1: 0.0 });
                continue;
            }
            trained?;
            let score = LambdaScore { lambda, micro_f1: self.validated(&rows, task, session)? };
            if best.as_ref().is_none_or(|best: &Best| score.micro_f1 > best.score.micro_f1) {
                best = Some(Best { score, values: self.learner.params().tensors()?, lines });
            }
            scores.push(score);
        }
        let diverged = "training diverged with every value of ewc_grid: give smaller ones, or lower lr_encoder";
        let best = best.ok_or_else(|| Error::Usage(diverged.to_owned()))?;
        self.learner.params().load(&best.values)?;
        session.log.keep(&best.lines)?;
        session.ledger.chosen(best.score.lambda, steps, scores.len());
        Ok(LambdaChoice { lambda: best.score.lambda, validation_rows: rows.len(), scores })
    }

    /// Micro-F1 on rows with the labels seen.
    fn validated(&self, rows: &[Row], task: &Task, session: &Session<'_>) -> Result<f64> {
        let predicted = stream::predict(self, session, &task.seen, rows)?;
        let dataset = DatasetRecord::new(session.benchmark.manifest());
        Ok(stage::score(&dataset, task.seen.stage, &predicted).micro_f1.number().unwrap_or_default())
    }
}

/// The validation rows of the first two tasks, each row once.
pub(super) fn validation_rows(benchmark: &Benchmark) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for task in 0..2 {
        let own = benchmark.rows(task, Split::Validation)?;
        if own.is_empty() {
            let reason = format!("task {} has no validation rows to choose λ by", task + 1);
            return Err(Error::Usage(format!("{reason}; give ewc_lambda and set ewc_grid = []")));
        }
        rows.extend(own);
    }
    let mut known = BTreeSet::new();
    rows.retain(|row| known.insert(row.id.clone()));
    Ok(rows)
}

/// The choice as a part of the state: λ and score of each value, `[2, N]`, the λ chosen, and the number of rows.
pub(super) fn to_state(choice: Option<&LambdaChoice>) -> Result<BTreeMap<String, Tensor>> {
    let Some(choice) = choice else { return Ok(BTreeMap::new()) };
    let of = |value: fn(&LambdaScore) -> f64| choice.scores.iter().map(value).collect::<Vec<_>>();
    let scores = Tensor::new(vec![of(|score| score.lambda), of(|score| score.micro_f1)], &Device::Cpu)?;
    let chosen = Tensor::new(&[choice.lambda, choice.validation_rows as f64], &Device::Cpu)?;
    Ok(BTreeMap::from([("scores".to_owned(), scores), ("chosen".to_owned(), chosen)]))
}

/// The choice that [`to_state`] stored.
pub(super) fn from_state(state: &BTreeMap<String, Tensor>) -> Result<Option<LambdaChoice>> {
    let (Some(scores), Some(chosen)) = (state.get("scores"), state.get("chosen")) else { return Ok(None) };
    let (scores, chosen) = (scores.to_vec2::<f64>()?, chosen.to_vec1::<f64>()?);
    let pairs = scores[0].iter().zip(&scores[1]);
    let scores = pairs.map(|(lambda, micro_f1)| LambdaScore { lambda: *lambda, micro_f1: *micro_f1 }).collect();
    Ok(Some(LambdaChoice { lambda: chosen[0], validation_rows: chosen[1] as usize, scores }))
}
