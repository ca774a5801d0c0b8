//! The options of `mkgc sweep` for Slurm.

use anyhow::{Context, Result};
use clap::Args;
use mkgc_harness::sweep::slurm::SlurmOptions;

/// Options of `mkgc sweep` that submit its runs to Slurm.
#[derive(Args)]
#[command(next_help_heading = "Slurm")]
pub struct SlurmArgs {
    /// Submit the runs to Slurm as job arrays, and a job after them that writes the report; --jobs is then how many run
    /// at a time. With --dry-run, print the commands instead (docs/cluster.md).
    #[arg(long, conflicts_with_all = ["status", "report", "run", "memory_per_run"])]
    pub slurm: bool,
    /// One argument for the `sbatch` of every job, e.g. `--sbatch-arg=--partition=gpu`; may be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, requires = "slurm")]
    sbatch_arg: Vec<String>,
    /// One more argument for the `sbatch` of the job that writes the report, e.g. `--merge-arg=--partition=cpu`; may be
    /// repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, requires = "slurm")]
    merge_arg: Vec<String>,
    /// Generic resources of each run (default: `gpu:1` with --device cuda, unless a --sbatch-arg asks for GPUs).
    #[arg(long, requires = "slurm")]
    gres: Option<String>,
    /// The spec hash that the run must have: jobs of a submission give it, because the plan may have changed since.
    #[arg(long, value_name = "HASH", hide = true, requires = "run")]
    pub expect: Option<String>,
}

impl SlurmArgs {
    /// Returns the options, given the arguments of this program to which a job adds what it is to do.
    pub fn options(&self, arguments: Vec<String>, at_once: Option<usize>, retry_failed: bool) -> Result<SlurmOptions> {
        let program = std::env::current_exe()?;
        let program = program.to_str().with_context(|| format!("{}: jobs need a path in UTF-8", program.display()))?;
        let mut command = vec![program.to_owned()];
        command.extend(arguments);
        let sbatch = self.sbatch_arg.clone();
        let merge = self.merge_arg.clone();
        Ok(SlurmOptions { command, sbatch, merge, gres: self.gres.clone(), at_once, retry_failed })
    }
}
