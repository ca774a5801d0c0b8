//! A method's predictions for a file of rows.

use mkgc_builder::corpus::Extraction;
use mkgc_builder::dataset::Row;

use crate::data::{Example, VisibleLabels};
use crate::error::Result;
use crate::learner::Answer;
use crate::methods::method::{Method, Session};
use crate::run::predictions::PredictionRow;

/// Rows that are predicted at a time.
const BATCH: usize = 64;

/// Returns the indices of rows in the batches in which they are predicted: rows of similar length together.
pub fn by_length(examples: &[Example]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|row| examples[*row].ids.len());
    order.chunks(BATCH).map(<[usize]>::to_vec).collect()
}

/// Predicts rows, choosing among the labels seen; the result is in the order of the rows. Batches hold rows of similar
/// length.
///
/// # Errors
/// Returns the errors of [`Method::answer`], and fails on a row that cannot be tokenised.
pub fn predict(
    method: &dyn Method,
    session: &Session<'_>,
    seen: &VisibleLabels,
    rows: &[Row],
) -> Result<Vec<PredictionRow>> {
    let examples = session.benchmark.tokenised(rows, &session.spec.tokenizer)?;
    let mut answers: Vec<Option<Answer>> = vec![None; examples.len()];
    let batches = by_length(&examples).into_iter().map(|chunk| {
        let rows = chunk.iter().map(|row| &examples[*row]).collect();
        (chunk, rows)
    });
    session.spec.batches(batches.collect(), |chunk, batch| {
        for (row, answer) in chunk.into_iter().zip(method.answer(batch, seen)?) {
            answers[row] = Some(answer);
        }
        Ok(())
    })?;
    let gold = rows.iter().map(|row| seen.gold(row));
    let answered = examples.iter().zip(gold).zip(answers.into_iter().flatten());
    Ok(answered.map(|((example, gold), answer)| stored(session.spec.kind, example, gold, answer)).collect())
}

/// Makes the row to store. Words that `max_length` cut off count as `O`.
fn stored(kind: Extraction, example: &Example, gold: Vec<u32>, answer: Answer) -> PredictionRow {
    let Answer { joint, mut text, mut vision } = answer;
    let mut predicted = joint.labels;
    if kind == Extraction::Entities {
        let halves = [&mut text, &mut vision].into_iter().filter(|half| !half.is_empty());
        halves.chain([&mut predicted]).for_each(|labels| labels.resize(example.words, 0));
    }
    PredictionRow { id: example.id.clone(), owner: example.owner, gold, predicted, scores: joint.scores, text, vision }
}
