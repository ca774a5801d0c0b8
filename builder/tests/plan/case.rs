//! Random corpora, and random protocols for them.

use mkgc_builder::bio::Tags;
use mkgc_builder::corpus::{Annotation, Corpus, Extraction, Instance, Mention, Relation, Split, Words};
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
        for split in Split::ALL {
            corpus.split_mut(split).iter_mut().for_each(|row| row.image = Some(format!("{}.jpg", row.row).into()));
        }
        corpus
    }

    fn instance(&self, classes: &[usize]) -> Instance {
        let name = |class: &usize| class.checked_sub(1).map(|class| self.names[class].clone());
        let mention = |start| Mention { name: "x".into(), start, end: start + 1 };
        let annotation = match self.kind {
            Extraction::Relations => {
                let relation =
                    Relation { head: mention(0), tail: mention(1), relation: name(&classes[0]).map(Into::into) };
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

    /// Returns the names of classes as a TOML list.
    fn list(&self, classes: &[usize]) -> String {
        format!("{:?}", classes.iter().map(|class| &self.names[*class]).collect::<Vec<_>>())
    }

    /// Returns the keys of the protocol that do not name tasks.
    fn rules(&self) -> String {
        let mut text = format!("name = \"p\"\ncorpus = \"random\"\ndrop = {}\n", self.list(&self.dropped));
        let mut set = |key: &str, value: String| text += &format!("{key} = {value}\n");
        if self.per_task {
            set("tests", "\"per-task\"".to_owned());
        }
        if let Some(none) = self.none {
            set("none", format!("{none:?}"));
        }
        if self.kind == Extraction::Entities {
            self.masking.iter().for_each(|masking| set("masking", format!("{masking:?}")));
            self.priority.iter().for_each(|order| set("priority", self.list(order)));
        }
        text
    }

    /// Returns the tasks of an order, dealt like cards, as TOML lists.
    fn dealt_tasks(&self, order: &[usize]) -> Vec<String> {
        let task = |task| order.iter().copied().skip(task).step_by(self.tasks).collect::<Vec<usize>>();
        (0..self.tasks).map(|k| self.list(&task(k))).collect()
    }

    /// Returns the key that has the order of classes to cut.
    fn cut(&self) -> String {
        format!("classes = {}\nn_tasks = {}\n", self.list(&self.kept), self.tasks)
    }

    fn protocol(&self) -> Protocol {
        let mut text = self.rules();
        if self.listed {
            text.extend(self.dealt_tasks(&self.kept).iter().map(|task| format!("[[tasks]]\nclasses = {task}\n")));
        } else {
            text += &self.cut();
            text.extend(self.order_seed.iter().map(|seed| format!("order_seed = {seed}\n")));
        }
        Protocol::parse(&text).unwrap()
    }

    /// Returns the protocol of several orders of the kept classes.
    pub fn family(&self, orders: &[Vec<usize>]) -> Protocol {
        let orders: Vec<String> =
            orders.iter().map(|order| format!("[{}]", self.dealt_tasks(order).join(", "))).collect();
        Protocol::parse(&format!("{}orders = [{}]\n", self.rules(), orders.join(", "))).unwrap()
    }

    /// Returns the protocol of several orders by their seeds.
    pub fn seeded_family(&self, seeds: &[u64]) -> Protocol {
        Protocol::parse(&format!("{}{}order_seeds = {seeds:?}\n", self.rules(), self.cut())).unwrap()
    }

    /// Returns the protocol with the training row `row` of `task` as an erratum.
    pub fn with_erratum(&self, row: usize, task: usize) -> Protocol {
        let erratum = format!("split = \"train\", tasks = [{task}], row = {row}, image = \"{row}.jpg\"");
        let text = format!("errata = [{{ {erratum} }}]\n{}", self.protocol().text);
        Protocol::parse(&text).unwrap()
    }

    pub fn plan(&self) -> BenchmarkPlan {
        plan(&self.corpus(), &self.protocol(), false).unwrap()
    }
}
