//! Values that no run can have.

use super::Config;
use crate::error::{Error, Result};

impl Config {
    /// Checks that every value makes sense alone and with the others.
    ///
    /// # Errors
    /// [`Error::Config`] with the key and what it accepts.
    pub(super) fn check(&self) -> Result<()> {
        let positive = [
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("key_size", self.key_size),
            ("fisher_rows", self.fisher_rows),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(config_error(key, "must be at least 1"));
        }
        if self.max_length < 8 {
            return Err(config_error("max_length", "must be at least 8: two special tokens, four markers, two words"));
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return Err(config_error("warmup", "must lie in [0, 1]: it is a share of the steps"));
        }
        if !(0.0..1.0).contains(&self.head_dropout) {
            return Err(config_error("head_dropout", "must lie in [0, 1)"));
        }
        let rates = [
            ("lr_encoder", self.lr_encoder),
            ("lr_head", self.lr_head),
            ("lr_key", self.lr_key),
            ("lr_bias", self.lr_bias),
            ("lr_memory_network", self.lr_memory_network),
        ];
        if let Some((key, value)) = rates.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            return Err(config_error(key, &format!("must be a positive number, got {value}")));
        }
        let weights = [
            ("weight_decay", self.weight_decay),
            ("clip_norm", self.clip_norm),
            ("ewc_lambda", self.ewc_lambda),
            ("ewc_gamma", self.ewc_gamma),
            ("lambda", self.lambda),
            ("alpha", self.alpha),
        ];
        if let Some((key, value)) = weights.into_iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            return Err(config_error(key, &format!("must be 0 or a positive number, got {value}")));
        }
        if let Some(value) = self.ewc_grid.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
            return Err(config_error("ewc_grid", &format!("must hold 0 or positive numbers, got {value}")));
        }
        if self.lambda > 0.0 && self.shared_layers == 0 {
            let reason = "distils the attention of the shared layers; raise shared_layers, or set lambda = 0";
            return Err(config_error("lambda", reason));
        }
        Ok(())
    }
}

/// Makes the error about the value of a key.
pub(super) fn config_error(key: &str, reason: &str) -> Error {
    Error::Config { key: key.to_owned(), reason: reason.to_owned() }
}
