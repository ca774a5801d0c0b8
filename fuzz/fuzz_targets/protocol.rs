//! Protocols, with the plans that they make of small corpora.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_builder::bio::Tags;
use mkgc_builder::corpus::{Annotation, Corpus, Extraction, Instance, Mention, Relation, Split, Words};
use mkgc_builder::plan::plan;
use mkgc_builder::protocol::{Protocol, SHIPPED};
use mkgc_fuzz::{file, folder, seed};

const SEEDS: [&str; 4] = [
    "name = 'p'\ncorpus = 'c'\norders = [[['a'], ['b']], [['b'], ['a']]]\ndrop = ['c']\n",
    "name = 'p'\ncorpus = 'c'\nn_tasks = 2\norder_seeds = [1, 2]\nnone = 'all'\ntests = 'per-task'\n[split]\nseed = 3\ntest = 0.2\nvalidation = { share = 0.5, at_most = 4 }\ntrain = 3\n",
    "name = 'p'\ncorpus = 'c'\nclasses = ['a', 'c', 'b']\nn_tasks = 2\npriority = ['a', 'b', 'c']\nmasking = 'seen'\n[split]\nrows = { train = 'rows', test = 'rows' }\n[[errata]]\nsplit = 'train'\ntasks = [0]\nrow = 1\nimage = '1.jpg'\n",
    "name = 'p'\n[[tasks]]\nname = 'x'\nclasses = ['a']\n[corpus]\nname = 'c'\nformat = 'jsonl-relations'\ntrain = ['t']\nspan_end = 'inclusive'\ndate = 2020-01-31\nclasses = ['a']\nnone = 'n'\n",
];

/// Returns a corpus of ten rows per split with classes `a`, `b`, `c` and none.
fn corpus(name: &str, task: Extraction) -> Corpus {
    let row = |i: usize| {
        let class = ["a", "b", "a", "c"].get(i % 5).map(|class| (*class).to_owned());
        let annotation = match task {
            Extraction::Relations => {
                let mention = |start| Mention { name: "x".into(), start, end: start + 1 };
                Annotation::Relation(Box::new(Relation { head: mention(0), tail: mention(1), relation: class.map(Into::into) }))
            }
            Extraction::Entities => {
                let tag = class.map_or("O".to_owned(), |class| format!("B-{class}"));
                Annotation::Entities(Tags::new([tag.as_str(), "B-b"]).unwrap())
            }
        };
        let image = Some(format!("{i}.jpg").into());
        Instance { row: 0, line: 0, id: None, tokens: Words::from(vec!["x", "y"]), image, annotation }
    };
    Corpus::from_rows(name, task, [(); 3].map(|()| (0..10).map(row).collect()))
}

/// Plans a corpus and checks that no row is in two training files unless all tasks share it.
fn check(protocol: &Protocol, task: Extraction) {
    let mut corpus = corpus(protocol.corpus.name(), task);
    if let Some(rule) = &protocol.split
        && rule.apply(&mut corpus, &folder().join("rows")).is_err()
    {
        return;
    }
    for as_published in [false, true] {
        let Ok(plan) = plan(&corpus, protocol, as_published) else { continue };
        let mut known = vec![false; corpus.train.len()];
        for (k, task) in plan.tasks.iter().enumerate() {
            for row in &task.train {
                assert!(!std::mem::replace(&mut known[row.index], row.owner_task.is_some()), "row {row:?} of task {k}");
                plan.row_labels(k, Split::Train, &corpus.train[row.index].annotation);
            }
        }
    }
}

fuzz_target!(init: {
    file("rows/rows", b"0\n1\n\n2\n");
    seed(SEEDS.into_iter().chain(SHIPPED.map(|(_, text)| text)))
}, |data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(protocol) = Protocol::parse(text) else { return };
    let _ = protocol.corpus.spec();
    for task in [Extraction::Relations, Extraction::Entities] {
        check(&protocol, task);
        for order in 1..=protocol.orders().min(3) {
            check(&protocol.with_order(order).unwrap(), task);
        }
    }
});
