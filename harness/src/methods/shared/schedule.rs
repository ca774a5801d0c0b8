//! The learning-rate schedule of a phase: `get_linear_schedule_with_warmup` of transformers. With n steps in the phase
//! and w = `warmup`·n (not rounded), step i, counted from 0, has the rates of the settings times
//!
//! ```text
//! i / max(1, w)              where i < w
//! (n − i) / max(1, n − w)    from there on
//! ```
//! so the first step of a warm-up has rate 0. A method in a stream does not know how many tasks will come, so every
//! phase (the epochs of one [`super::training::Trainer`]) warms up and decays anew, also where one optimiser serves the
//! whole stream.

use crate::config::{Config, Schedule};

/// Returns the factor of all rates at `step`, counted from 0, of a phase of `steps` steps.
pub fn factor(config: &Config, step: usize, steps: usize) -> f64 {
    if config.schedule == Schedule::Constant {
        return 1.0;
    }
    let step = step as f64;
    let steps = steps as f64;
    let warm = config.warmup * steps;
    if step < warm { step / warm.max(1.0) } else { ((steps - step) / (steps - warm).max(1.0)).max(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mkgc_builder::corpus::Extraction;

    fn factors(schedule: Schedule, warmup: f64, steps: usize) -> Vec<f64> {
        let config = Config { schedule, warmup, ..Config::shared(Extraction::Relations) };
        (0..steps).map(|step| factor(&config, step, steps)).collect()
    }

    /// What transformers 5 gives for the same numbers.
    #[test]
    fn rates_are_those_of_transformers() {
        let close = |warmup, expected: &[f64]| {
            let ours = factors(Schedule::Linear, warmup, expected.len());
            assert!(ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{warmup}: {ours:?}");
        };
        close(0.5, &[0.0, 0.5, 1.0, 0.5]);
        close(0.0, &[1.0, 0.75, 0.5, 0.25]);
        close(
            0.25,
            &[0.0, 1.0 / 2.25, 2.0 / 2.25, 6.0 / 6.75, 5.0 / 6.75, 4.0 / 6.75, 3.0 / 6.75, 2.0 / 6.75, 1.0 / 6.75],
        );
        close(1.0, &[0.0, 1.0 / 3.0, 2.0 / 3.0]);
        // Less than one step of warm-up: the first step has rate 0 all the same.
        close(0.1, &[0.0, 4.0 / 4.5, 3.0 / 4.5, 2.0 / 4.5, 1.0 / 4.5]);
        assert_eq!(factors(Schedule::Constant, 0.5, 3), [1.0; 3]);
    }
}
