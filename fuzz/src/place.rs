//! A small benchmark, made once by each process, and a run on it.

use std::path::PathBuf;
use std::sync::OnceLock;

use mkgc_builder::build::{BuildOptions, build};

const RELATIONS: &str = "name = 'p'\nn_tasks = 2\n[corpus]\nname = 'r'\nformat = 'jsonl-relations'\ntrain = 'train'\n\
    validation = 'validation'\ntest = 'test'\nnone = 'none'\nspan_end = 'exclusive'\n";
const ENTITIES: &str = "name = 'p'\nn_tasks = 2\n[corpus]\nname = 'e'\nformat = 'jsonl-entities'\ntrain = 'train'\n\
    validation = 'validation'\ntest = 'test'\n";

/// Returns a benchmark of two tasks without pictures: of relations `a` and `b`, or of types `A` and `B`.
pub fn benchmark(entities: bool) -> &'static PathBuf {
    static MADE: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
    MADE[usize::from(entities)].get_or_init(|| make(entities))
}

fn make(entities: bool) -> PathBuf {
    let name = if entities { "entities" } else { "relations" };
    for split in ["train", "validation", "test"] {
        let row = |class: &&str| {
            let word = format!("{split}{class}");
            match entities {
                true => format!("{{\"tokens\": [\"{word}\", \"x\"], \"tags\": [\"{class}\", \"O\"]}}\n"),
                false => format!(
                    "{{\"tokens\": [\"{word}\", \"x\"], \"head\": [0, 1], \"tail\": [1, 2], \"relation\": \"{class}\"}}\n"
                ),
            }
        };
        let classes = if entities { ["B-A", "B-B", "O"] } else { ["a", "b", "none"] };
        let rows: String = classes.iter().map(row).collect();
        crate::file(&format!("{name}/raw/{split}"), rows.as_bytes());
    }
    let protocol = crate::file(&format!("{name}/p.toml"), if entities { ENTITIES } else { RELATIONS }.as_bytes());
    let folder = crate::folder().join(name);
    let built = folder.join("p");
    build(&BuildOptions::new(protocol.to_string_lossy(), folder.join("raw"), built.clone())).unwrap();
    built
}

/// Returns a finished run on the benchmark.
#[cfg(feature = "harness")]
pub fn run(entities: bool) -> PathBuf {
    use mkgc_builder::corpus::Extraction;
    use mkgc_harness::config::{Overrides, Recipe};
    use mkgc_harness::methods::registry;
    use mkgc_harness::train::{Request, Run};

    let out = crate::folder().join(if entities { "run-entities" } else { "run-relations" });
    let method = *registry::find("vanilla").unwrap();
    let kind = if entities { Extraction::Entities } else { Extraction::Relations };
    let recipe = Recipe::new("recipe", toml::from_str("epochs = 1").unwrap());
    let given = Overrides { recipe: Some(&recipe), ..Overrides::default() };
    let settings = registry::resolve(kind, &method, given).unwrap();
    let request = Request { settings, ..Request::new(benchmark(entities), method, &out).unwrap() };
    Run::open(request).unwrap().train().unwrap();
    out
}
