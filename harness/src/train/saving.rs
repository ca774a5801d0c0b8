//! Which networks of a run are kept, and where.

use std::path::{Path, PathBuf};

use super::request::SaveModel;
use super::run::{Run, Training};
use crate::error::Result;
use crate::model::{self, ModelCard, ModelState};

impl Run {
    /// Returns the folder for the network after a task; none if it is not kept.
    fn model_place(&self, task: usize) -> Option<PathBuf> {
        match self.request.save_model? {
            SaveModel::Every => Some(self.folder.model_after(task)),
            SaveModel::Last => (task + 1 == self.tasks()).then(|| self.folder.model()),
        }
    }

    /// Checks that the networks that are to be kept of the first `learned` tasks are there. The last one may be among those
    /// that an earlier command kept after every task.
    pub(super) fn check_models(&self, learned: usize) -> Result<()> {
        let kept = |task: usize, place: &Path| ModelCard::read(place).is_ok_and(|card| card.tasks_learned == task + 1);
        let missing = (0..learned).find(|task| {
            let place = self.model_place(*task);
            place.is_some_and(|place| !kept(*task, &place) && !kept(*task, &self.folder.model_after(*task)))
        });
        missing.map_or(Ok(()), |task| {
            let reason = format!(
                "has learned task {} without keeping its network, which cannot be saved any more; train with \
                 --save-model into another --out, or leave --save-model out",
                task + 1
            );
            Err(self.folder.error(&reason))
        })
    }
}

impl Training<'_> {
    /// Saves the network after a task, if the request wants it kept.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save_model(&self, task: usize) -> Result<()> {
        let Some(place) = self.run.model_place(task) else { return Ok(()) };
        let state = ModelState {
            method: self.method.as_ref(),
            spec: &self.run.spec,
            record: &self.run.record,
            tasks_learned: task + 1,
        };
        model::save(&place, &state)
    }
}
