//! Random corpora, and random protocols for them.

use mkgc_builder::bio::Tags;
use mkgc_builder::corpus::{Annotation, Corpus, Extraction, Instance, Mention, Relation, Words};
use mkgc_builder::plan::{BenchmarkPlan, plan};
use mkgc_builder::protocol::Protocol;
use proptest::prelude::*;

/// A corpus and a protocol for it.
#[derive(Debug, Clone)]
pub struct Case {
    pub kind: Extraction,
    /// Names of the classes.
    pub names: Vec<String>,
    /// The classes of each row of each split. A relation row has one at most; a sentence has a word for each number, in
    /// which 0 is no class and c + 1 is class c.
    pub rows: [Vec<Vec<usize>>; 3],
    /// The classes that are in tasks, in an order of their own.
    pub kept: Vec<usize>,
    pub dropped: Vec<usize>,
    pub tasks: usize,
    /// Whether the tasks are listed, dealt like cards; otherwise the order is cut.
    pub listed: bool,
    pub order_seed: Option<u64>,
    pub per_task: bool,
    pub none: Option<&'static str>,
    pub masking: Option<&'static str>,
    /// Entity types, the owning one first; by default the rarest.
    pub priority: Option<Vec<usize>>,
}

/// Makes random cases of relation or of entity corpora.
pub fn case(kind: Extraction) -> impl Strategy<Value = Case> {
    let words = if kind == Extraction::Relations { 1..2 } else { 1usize..6 };
    let shuffled = |n: usize| Just((0..n).collect::<Vec<_>>()).prop_shuffle();
    (2usize..=7).prop_flat_map(move |n| {
        let rows = || prop::collection::vec(prop::collection::vec(0..=n, words.clone()), 0..40);
        let corpus = ([rows(), rows(), rows()], shuffled(n), 0..n);
        let cut = (0usize..7, any::<bool>(), prop::option::of(0u64..1000));
        let none = prop::option::of(prop::sample::select(vec!["split", "all", "drop"]));
        let masking = prop::option::of(prop::sample::select(vec!["current", "seen", "off"]));
        let rules = (any::<bool>(), none, masking, prop::option::of(shuffled(n)));
        (corpus, cut, rules).prop_map(move |((rows, mut kept, dropped), (tasks, listed, order_seed), rules)| {
            let (per_task, none, masking, priority) = rules;
            let names = (0..n).map(|class| format!("C{class}")).collect();
            let dropped = kept.split_off(n - dropped);
            let tasks = 1 + tasks % kept.len();
            let priority = priority.map(|order| order.into_iter().filter(|class| kept.contains(class)).collect());
            let mut case =
                Case { kind, names, rows, kept, dropped, tasks, listed, order_seed, per_task, none, masking, priority };
            // Every class that is in a task has a training row of its own, so that no task is empty.
            case.rows[0].extend(case.kept.iter().map(|class| vec![class + 1]));
            case
        })
    })
}

impl Case {
    pub fn corpus(&self) -> Corpus {
        let rows = self.rows.clone().map(|rows| rows.iter().map(|classes| self.instance(classes)).collect());
        let mut corpus = Corpus::from_rows("random", self.kind, rows);
        corpus.classes = self.names.clone();
        corpus
    }

    fn instance(&self, classes: &[usize]) -> Instance {
        let name = |class: &usize| class.checked_sub(1).map(|class| self.names[class].clone());
        let mention = |start| Mention { name: "x".to_owned(), start, end: start + 1 };
        let annotation = match self.kind {
            Extraction::Relations => {
                let relation = Relation { head: mention(0), tail: mention(1), relation: name(&classes[0]) };
                Annotation::Relation(Box::new(relation))
            }
            Extraction::Entities => {
                let tag = |class| name(class).map_or("O".to_owned(), |name| format!("B-{name}"));
                Annotation::Entities(Tags::new(classes.iter().map(tag)).unwrap())
            }
        };
        let tokens = Words::from(vec!["x"; classes.len().max(2)]);
        Instance { row: 0, line: 0, id: None, tokens, image: None, annotation }
    }

    fn protocol(&self) -> Protocol {
        let list =
            |classes: &[usize]| format!("{:?}", classes.iter().map(|class| &self.names[*class]).collect::<Vec<_>>());
        let mut text = format!("name = \"p\"\ncorpus = \"random\"\ndrop = {}\n", list(&self.dropped));
        let mut set = |key: &str, value: String| text += &format!("{key} = {value}\n");
        if self.per_task {
            set("tests", "\"per-task\"".to_owned());
        }
        if let Some(none) = self.none {
            set("none", format!("{none:?}"));
        }
        if self.kind == Extraction::Entities {
            self.masking.iter().for_each(|masking| set("masking", format!("{masking:?}")));
            self.priority.iter().for_each(|order| set("priority", list(order)));
        }
        if self.listed {
            for task in 0..self.tasks {
                let classes: Vec<usize> = self.kept.iter().copied().skip(task).step_by(self.tasks).collect();
                text += &format!("[[tasks]]\nclasses = {}\n", list(&classes));
            }
        } else {
            set("classes", list(&self.kept));
            set("n_tasks", self.tasks.to_string());
            self.order_seed.iter().for_each(|seed| set("order_seed", seed.to_string()));
        }
        Protocol::parse(&text).unwrap()
    }

    pub fn plan(&self) -> BenchmarkPlan {
        plan(&self.corpus(), &self.protocol(), false).unwrap()
    }
}
