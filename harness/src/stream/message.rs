//! The messages between mkgc and a client: JSON objects, one per line, told apart by `type`. Every request gets one reply.
//! `docs/schema/stream-request.schema.json` and `stream-reply.schema.json` are derived from the types here.

use std::collections::BTreeMap;

use mkgc_builder::corpus::Extraction;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::rows::StreamRow;
use crate::external::jsonl;
use crate::metrics::score::RunResult;
use crate::run::external::{Budget, Refusal};

/// Version of the messages that mkgc and a client exchange.
pub const PROTOCOL: u32 = 1;

/// What a client may ask for.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(rename = "Request")]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientRequest {
    /// Asks for the next task. The reply is `task`, or `end` after the last one.
    Next,
    /// Stores training rows of the task for later ones. The reply is `remembered`.
    Remember {
        /// The rows to store: training rows of the task, or rows stored already.
        rows: Vec<RowRef>,
        /// Whether only these rows stay stored, also of earlier tasks.
        #[schemars(default)]
        replace: bool,
    },
    /// Asks for the test rows of all tasks so far. The reply is `test`.
    Test,
    /// Gives the predictions of the test rows, which ends the task. The reply is `predicted`.
    Predict {
        /// One per test row, in the order in which they were handed out: the name or the id of a relation, or a list with
        /// a tag per word.
        #[schemars(extend("items" = prediction_schema()))]
        predictions: Vec<Value>,
        /// For relations: for each test row a list with one number per label of the benchmark, or null.
        #[schemars(default, extend("items" = json!({"type": ["array", "null"], "items": {"type": ["number", "null"]}})))]
        scores: Option<Vec<Value>>,
    },
}

fn prediction_schema() -> Value {
    let label = json!({"type": ["string", "integer"]});
    json!({"anyOf": [label, {"type": "array", "items": label}]})
}

/// Names a row that a task has handed out: by its id alone, or as an object with the task as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRef {
    /// Id of the row in the benchmark, e.g. `train-000123`.
    pub id: String,
    /// 0-based task that handed it out. Without it, the row of the present task is meant, or else a stored one.
    pub task: Option<usize>,
}

impl JsonSchema for RowRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RowRef".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let about = "Names a row that a task has handed out: its id alone, which means the row of the present task or else a \
                     stored one, or an object with the task that handed it out.";
        let object = json!({
            "type": "object",
            "properties": {"id": {"type": "string"}, "task": {"type": "integer", "minimum": 0}},
            "required": ["id"],
        });
        schemars::json_schema!({"description": about, "anyOf": [{"type": "string"}, object]})
    }
}

impl ClientRequest {
    /// Parses a line.
    ///
    /// # Errors
    /// The line is no request; the message says why.
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut object =
            jsonl::object(line).map_err(|kind| format!("no request: `{}` ({kind})", jsonl::shortened(line)))?;
        let kind = object.remove("type");
        let request = match kind.as_ref().and_then(Value::as_str) {
            Some("next") => Self::Next,
            Some("test") => Self::Test,
            Some("remember") => {
                let rows = list(&mut object, "rows")?.ok_or("`remember` needs `rows`, a list of ids")?;
                let replace = object.remove("replace").unwrap_or(Value::Bool(false));
                let replace = replace.as_bool().ok_or("`replace` is neither true nor false")?;
                Self::Remember { rows: rows.iter().map(row).collect::<Result<_, _>>()?, replace }
            }
            Some("predict") => {
                let missing = "`predict` needs `predictions`, a list with one per test row";
                let predictions = list(&mut object, "predictions")?.ok_or(missing)?;
                Self::Predict { predictions, scores: list(&mut object, "scores")? }
            }
            Some(other) => {
                return Err(format!("no request is of the type `{}`; {KNOWN}", jsonl::shortened(other)));
            }
            None => return Err(format!("a request needs a `type` that is a text; {KNOWN}")),
        };
        match object.keys().next() {
            None => Ok(request),
            Some(key) => Err(format!("`{}` has no key `{}`", kind_name(&request), jsonl::shortened(key))),
        }
    }
}

const KNOWN: &str = "there are next, remember, test and predict";

fn kind_name(request: &ClientRequest) -> &'static str {
    match request {
        ClientRequest::Next => "next",
        ClientRequest::Remember { .. } => "remember",
        ClientRequest::Test => "test",
        ClientRequest::Predict { .. } => "predict",
    }
}

/// Takes a list out of a request; `None` if it is not there or null.
fn list(object: &mut Map<String, Value>, key: &str) -> Result<Option<Vec<Value>>, String> {
    match object.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(values)) => Ok(Some(values)),
        Some(_) => Err(format!("`{key}` is no list")),
    }
}

fn row(value: &Value) -> Result<RowRef, String> {
    let wrong = || format!("`rows` holds `{}`, which is no id of a row", jsonl::shortened(&value.to_string()));
    match value {
        Value::String(id) => Ok(RowRef { id: id.clone(), task: None }),
        Value::Object(fields) => {
            let id = fields.get("id").and_then(Value::as_str).ok_or_else(wrong)?.to_owned();
            let task = match fields.get("task") {
                None | Some(Value::Null) => None,
                Some(task) => Some(task.as_u64().ok_or_else(wrong)? as usize),
            };
            Ok(RowRef { id, task })
        }
        _ => Err(wrong()),
    }
}

/// What mkgc says to a client.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply<'a> {
    /// The first message, before any request: what will be dealt out.
    Hello(Hello),
    /// The next task and its rows, for `next`.
    Task(TaskMessage<'a>),
    /// The rows are stored, for `remember`.
    Remembered {
        /// Number of rows that are stored now, of all tasks.
        stored: usize,
        /// Of these, how many hold each class.
        by_class: BTreeMap<String, usize>,
    },
    /// The test rows of all tasks so far, for `test`.
    Test {
        /// The test rows without their labels, in the order that predictions must have.
        rows: Vec<StreamRow>,
    },
    /// The predictions are stored, for `predict`.
    Predicted {
        /// 0-based task that they were made after.
        task: usize,
        /// Whether it was the last one.
        last: bool,
    },
    /// There are no more tasks, for `next`. mkgc ends after this message.
    End {
        /// The scores, as in `result.json`.
        result: Box<RunResult>,
    },
    /// The request was refused and changed nothing.
    Error {
        /// Why the request was refused, in a word for programs.
        code: Refusal,
        /// Why the request was refused, in a sentence for people.
        message: String,
    },
}

/// What will be dealt out, and where files are.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Hello {
    /// Version of the messages that mkgc sends and reads.
    #[schemars(extend("const" = PROTOCOL))]
    pub protocol: u32,
    /// Version of the mkgc that deals out the benchmark.
    pub mkgc: String,
    /// Protocol name of the benchmark, e.g. `mnre-10`.
    pub benchmark: String,
    /// Whether relations (`re`) or entities (`ner`) are extracted.
    pub extraction: Extraction,
    /// Name of "no class", label 0.
    pub none: String,
    /// Number of labels of all tasks of the benchmark, id 0 included; rows of scores have this length.
    pub labels: usize,
    /// Number of tasks that are dealt out.
    pub tasks: usize,
    /// Number of tasks whose predictions an earlier process stored. `next` gives the task after them.
    pub tasks_done: usize,
    /// Which rows the method may store.
    pub memory: Budget,
    /// Seed that the method should use.
    pub train_seed: u64,
    /// Path of the benchmark folder.
    pub data: String,
    /// Path of the run folder.
    pub out: String,
    /// Where the pictures are that rows name.
    pub images: Images,
}

/// Where the pictures of a benchmark are. Rows name theirs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Images {
    /// Parquet files with the columns `id` and `image`, relative to the benchmark folder; none if the folder has no
    /// pictures or if they are in the rows.
    pub files: Vec<String>,
    /// The same of the visual objects that `crops` names.
    pub crops: Vec<String>,
    /// Whether a picture is known by its split and its id, so that the files have a column `split`.
    pub by_split: bool,
    /// Whether the task files hold the pictures in a column `image`.
    pub embedded: bool,
}

/// A task with its labels and rows, and what was stored of earlier tasks.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TaskMessage<'a> {
    /// 0-based number of the task.
    pub task: usize,
    /// Name of the task, as the protocol gives it, or else its classes.
    pub name: &'a str,
    /// Classes that the task introduces: names of relations or entity types.
    pub classes: &'a [String],
    /// Labels known from now on by id. Those of earlier tasks keep their ids.
    pub labels: Vec<&'a str>,
    /// Training rows of this task.
    pub train: Vec<&'a StreamRow>,
    /// Validation rows of this task.
    pub validation: Vec<&'a StreamRow>,
    /// Rows stored of earlier tasks.
    pub memory: Vec<&'a StreamRow>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_are_read_and_wrong_ones_named() {
        assert_eq!(ClientRequest::parse(r#"{"type": "next"}"#), Ok(ClientRequest::Next));
        let rows = vec![RowRef { id: "a".into(), task: None }, RowRef { id: "b".into(), task: Some(1) }];
        let line = r#"{"type": "remember", "rows": ["a", {"id": "b", "task": 1, "tokens": []}], "replace": true}"#;
        assert_eq!(ClientRequest::parse(line), Ok(ClientRequest::Remember { rows, replace: true }));
        let line = r#"{"type": "predict", "predictions": ["x", 3], "scores": [[NaN, 1], null]}"#;
        let Ok(ClientRequest::Predict { predictions, scores: Some(scores) }) = ClientRequest::parse(line) else {
            panic!()
        };
        assert_eq!((predictions, scores), (vec![json!("x"), json!(3)], vec![json!([null, 1]), Value::Null]));
        for (line, reason) in [
            ("", "end within an object"),
            ("next", "not JSON"),
            ("[1]", "no object"),
            ("{'type': 'next'}", "json.dumps"),
            ("{}", "needs a `type`"),
            (r#"{"type": 3}"#, "needs a `type`"),
            (r#"{"type": "train"}"#, "no request is of the type `train`; there are next"),
            (r#"{"type": "next", "task": 3}"#, "`next` has no key `task`"),
            (r#"{"type": "remember"}"#, "needs `rows`"),
            (r#"{"type": "remember", "rows": "a"}"#, "`rows` is no list"),
            (r#"{"type": "remember", "rows": [3]}"#, "`3`, which is no id"),
            (r#"{"type": "remember", "rows": [{"id": "a", "task": -1}]}"#, "no id"),
            (r#"{"type": "remember", "rows": [], "replace": 1}"#, "neither true nor false"),
            (r#"{"type": "predict"}"#, "needs `predictions`"),
        ] {
            let error = ClientRequest::parse(line).unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
