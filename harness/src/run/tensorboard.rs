//! `tensorboard/events.out.tfevents.0.mkgc`: what TensorBoard shows of a run, live. Scalars are the columns of
//! `metrics.jsonl` over the batches of the whole stream (replay steps not counted), its numbers of single steps, and the
//! scores after each task.
//! Events contain timestamps, so this file is not byte-for-byte reproducible.
//!
//! A file is a row of TFRecords: length, its checksum, data, its checksum (`tensorflow/core/lib/io/record_writer.h`).
//! The data is a `tensorflow.Event` (`tensorflow/core/util/event.proto`) in the wire format of Protocol Buffers.

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use crc32c::crc32c;

use super::line::Line;
use crate::error::Result;

/// TensorBoard reads every file whose name holds `tfevents`; a fixed one is replaced when a run goes on.
const NAME: &str = "events.out.tfevents.0.mkgc";

/// The event file of one run.
pub struct EventFile {
    file: fs_err::File,
    /// Batches of each task begun.
    steps: Vec<usize>,
}

impl EventFile {
    /// Creates the event file, replacing an earlier one.
    pub fn create(folder: &Path) -> Result<Self> {
        fs_err::create_dir_all(folder)?;
        let mut events = Self { file: fs_err::File::create(folder.join(NAME))?, steps: Vec::new() };
        events.event(0, &field(3, b"brain.Event:2"))?;
        Ok(events)
    }

    /// Adds a line of `metrics.jsonl`.
    pub fn line(&mut self, line: &Line) -> Result<()> {
        self.steps.resize(self.steps.len().max(line.stage + 1), 0);
        for (name, values) in &line.scalars {
            for (step, value) in values {
                self.steps[line.stage] = *step;
                self.scalars(line.stage, &[(&format!("train/{name}"), f64::from(*value))])?;
            }
        }
        self.steps[line.stage] = line.step;
        let scalars = [
            ("train/loss", line.loss),
            ("train/lr_encoder", line.lr_encoder),
            ("train/samples_per_s", line.samples_per_s),
            ("train/memory_mib", line.memory_mib as f64),
        ];
        self.scalars(line.stage, &scalars)
    }

    /// Adds values at the newest batch of a task.
    pub fn scalars(&mut self, stage: usize, scalars: &[(&str, f64)]) -> Result<()> {
        let value = |(tag, value): &(&str, f64)| field(1, &[field(1, tag.as_bytes()), float(*value as f32)].concat());
        let summary: Vec<u8> = scalars.iter().flat_map(value).collect();
        self.event(self.steps.iter().take(stage + 1).sum(), &field(5, &summary))
    }

    fn event(&mut self, step: usize, what: &[u8]) -> Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        // Field 1 is a double (wire type 1), field 2 a varint (wire type 0).
        let event = [&[0x09], now.to_le_bytes().as_slice(), &[0x10], &varint(step), what].concat();
        // In one write, so that a reader never waits for half a record for long.
        self.file.write_all(&record(&event))?;
        Ok(())
    }
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [length.as_slice(), &checksum(&length), data, &checksum(data)].concat()
}

/// Computes the CRC-32C, masked because records may hold checksums themselves.
fn checksum(data: &[u8]) -> [u8; 4] {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Encodes a field of bytes, text or a message (wire type 2).
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], varint(bytes.len()).as_slice(), bytes].concat()
}

/// Encodes field 2 of `Summary.Value`, `simple_value` (wire type 5).
fn float(value: f32) -> Vec<u8> {
    [[0x15].as_slice(), &value.to_le_bytes()].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run::log::Log;

    /// Events of a task that did not end go with its lines: what stays is the version and one event per line kept.
    #[test]
    fn a_run_that_goes_on_drops_the_events_of_its_last_task() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let line = |stage, step| Line {
            stage,
            epoch: 0,
            step,
            loss: 0.5,
            lr_encoder: 1e-3,
            samples_per_s: 9.0,
            memory_mib: 1,
            scalars: [("rho".to_owned(), vec![(step, 0.5)])].into(),
        };
        let lines = [line(0, 50), line(0, 70), line(1, 50)].map(|line| serde_json::to_string(&line).unwrap());
        fs_err::write(&path, lines.join("\n")).unwrap();
        let mut log = Log::open(&path, "", 2, 1, 1e-3).unwrap();
        let count = || {
            let bytes = fs_err::read(folder.path().join("tensorboard").join(NAME)).unwrap();
            let mut at = 0;
            let mut count = 0;
            while at < bytes.len() {
                at += 16 + u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
                count += 1;
            }
            assert_eq!(at, bytes.len());
            count
        };
        // The version, and for each line kept its event and one of its step.
        assert_eq!(count(), 5);
        log.begin_task(1, false);
        log.phase(4);
        log.step(0, 4, 0.5).unwrap();
        log.end_phase().unwrap();
        assert_eq!((count(), fs_err::read_to_string(&path).unwrap().lines().count()), (6, 3));
    }

    /// As RFC 3720, B.4, has them (zeros and ones), and protobuf's guide (150).
    #[test]
    fn checksums_and_varints_are_those_of_the_formats() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(varint(150), [0x96, 0x01]);
    }
}
