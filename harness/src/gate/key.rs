//! The key by which a baseline and runs are matched.

use std::fmt;

/// What the runs of a baseline entry have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GateKey {
    /// Name of the benchmark, which is that of its protocol, e.g. `mnre-10`.
    pub benchmark: String,
    /// The label of the runs, [`crate::run::record::RunRecord::label`].
    pub method: String,
    /// The kind of device, `cpu` or `cuda`; `external` if it is not known.
    pub device: String,
}

impl fmt::Display for GateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {} × {}", self.benchmark, self.method, self.device)
    }
}
